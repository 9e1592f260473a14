//! Requests about groups and transactions: each goes to the broker that coordinates what it is about.

use std::collections::BTreeMap;

use super::{Client, Connection, Fault};
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    FindCoordinatorRequest, ListGroupsRequest, ListTransactionsRequest, ListedGroup, ListedTransaction,
};

/// The first version of FindCoordinator that asks for several groups.
const SEVERAL: i16 = 4;

/// What has a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Group = 0,
    Transaction = 1,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Group => "group",
            Kind::Transaction => "transactional id",
        }
    }
}

/// What a coordinator said of each group or transactional id that it was asked about.
pub type Said<T> = Vec<(String, Result<T, Fault>)>;

/// What was said of one of them, and by which broker.
#[derive(Debug)]
pub struct Answered<T> {
    /// The broker that coordinates it; -1 where none could be found.
    pub coordinator: i32,
    /// Its answer.
    pub result: Result<T, Fault>,
}

impl Client {
    /// Asks about groups, each broker about those that it coordinates. What fails for now (a coordinator that
    /// loads or moves) is asked again within the request timeout; what fails for good is given back.
    pub fn groups<T>(
        &mut self,
        names: &[String],
        ask: impl FnMut(&mut Connection, &[String]) -> Result<Said<T>, Fault>,
    ) -> Result<BTreeMap<String, Answered<T>>, Fault> {
        self.coordinated(Kind::Group, names, ask)
    }

    /// The same for transactional ids.
    pub fn transactions<T>(
        &mut self,
        ids: &[String],
        ask: impl FnMut(&mut Connection, &[String]) -> Result<Said<T>, Fault>,
    ) -> Result<BTreeMap<String, Answered<T>>, Fault> {
        self.coordinated(Kind::Transaction, ids, ask)
    }

    fn coordinated<T>(
        &mut self,
        kind: Kind,
        names: &[String],
        mut ask: impl FnMut(&mut Connection, &[String]) -> Result<Said<T>, Fault>,
    ) -> Result<BTreeMap<String, Answered<T>>, Fault> {
        let mut done: BTreeMap<String, Answered<T>> = BTreeMap::new();
        self.retry(|client| {
            client.metadata(Some(&[]), false)?;
            let open: Vec<String> = names.iter().filter(|name| !done.contains_key(*name)).cloned().collect();
            let mut again = None;
            let mut places: BTreeMap<i32, Vec<String>> = BTreeMap::new();
            for (name, found) in client.coordinators(kind, &open)? {
                match found {
                    Ok(broker) => places.entry(broker).or_default().push(name),
                    Err(fault) if fault.is_retriable() => again = Some(fault),
                    Err(fault) => drop(done.insert(name, Answered { coordinator: -1, result: Err(fault) })),
                }
            }
            for (coordinator, names) in places {
                for (name, result) in ask(client.broker(coordinator)?, &names)? {
                    match result {
                        Err(fault) if fault.is_retriable() => again = Some(fault),
                        result => drop(done.insert(name, Answered { coordinator, result })),
                    }
                }
            }
            again.map_or(Ok(()), Err)
        })?;
        Ok(done)
    }

    /// The same for one group.
    pub fn group<T>(
        &mut self,
        name: &str,
        mut ask: impl FnMut(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let names = [name.to_owned()];
        let found = self.groups(&names, |connection, _| Ok(vec![(names[0].clone(), ask(connection))]))?;
        found.into_values().next().expect("the group was asked about").result
    }

    /// Which broker coordinates each of them.
    fn coordinators(&mut self, kind: Kind, names: &[String]) -> Result<Said<i32>, Fault> {
        let doing = |name: &str| format!("looking for the coordinator of {} {name}", kind.name());
        let key_type = kind as i8;
        let said = |name: String, node: i32, code: ErrorCode, message: Option<String>| {
            let result = match code {
                ErrorCode::NONE => Ok(node),
                code => Err(Fault::refused(doing(&name), code, message)),
            };
            (name, result)
        };
        let connection = self.any()?;
        if connection.version(ApiKey::FindCoordinator)? >= SEVERAL {
            let request = FindCoordinatorRequest {
                coordinator_keys: names.to_vec(),
                key_type,
                ..FindCoordinatorRequest::default()
            };
            let found = connection.call(&request)?.coordinators.into_iter();
            return Ok(found.map(|c| said(c.key, c.node_id, c.error_code, c.error_message)).collect());
        }
        let mut all = Vec::new();
        for name in names {
            let request =
                FindCoordinatorRequest { key: name.clone(), key_type, ..FindCoordinatorRequest::default() };
            let found = connection.call(&request)?;
            all.push(said(name.clone(), found.node_id, found.error_code, found.error_message));
        }
        Ok(all)
    }

    /// The groups of all brokers, in the order of their names.
    pub fn list_groups(&mut self, request: &ListGroupsRequest) -> Result<Vec<ListedGroup>, Fault> {
        self.retry(|client| {
            client.metadata(Some(&[]), false)?;
            let mut all: BTreeMap<String, ListedGroup> = BTreeMap::new();
            for broker in client.brokers.keys().copied().collect::<Vec<_>>() {
                let answer = client.broker(broker)?.call(request)?;
                if answer.error_code.is_error() {
                    let doing = format!("listing the groups of broker {broker}");
                    return Err(Fault::refused(doing, answer.error_code, None));
                }
                all.extend(answer.groups.into_iter().map(|group| (group.group_id.clone(), group)));
            }
            Ok(all.into_values().collect())
        })
    }

    /// The transactional ids of all brokers, in their order, and the states that no broker knows.
    pub fn list_transactions(
        &mut self,
        request: &ListTransactionsRequest,
    ) -> Result<(Vec<ListedTransaction>, Vec<String>), Fault> {
        self.retry(|client| {
            client.metadata(Some(&[]), false)?;
            let mut all: BTreeMap<String, ListedTransaction> = BTreeMap::new();
            let mut unknown = Vec::new();
            for broker in client.brokers.keys().copied().collect::<Vec<_>>() {
                let answer = client.broker(broker)?.call(request)?;
                if answer.error_code.is_error() {
                    let doing = format!("listing the transactions of broker {broker}");
                    return Err(Fault::refused(doing, answer.error_code, None));
                }
                let listed = answer.transaction_states.into_iter();
                all.extend(listed.map(|listed| (listed.transactional_id.clone(), listed)));
                unknown = answer.unknown_state_filters;
            }
            Ok((all.into_values().collect(), unknown))
        })
    }

    /// Where a broker is, HOST:PORT, as the cluster's metadata told it last.
    pub fn address(&self, broker: i32) -> Option<&str> {
        self.brokers.get(&broker).map(String::as_str)
    }
}
