//! Before the first batch of a transaction is appended to a partition, its coordinator is asked whether the partition
//! is part of it, or told to add it.
//!
//! A shard asks once for all that comes in one turn. While it waits, the producer's further
//! batches for the partition queue up behind the first, so that their order stays.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::coordinator::transactions::ask;
use super::core::Core;
use super::messages::{By, ProducePart, ProducePartReply, TransactionNamed};
use super::produce::Pending;
use super::replica::{Online, Queued, Replica};
use super::shard::Shard;
use crate::coordinator::records::Producer;
use crate::coordinator::transaction::{AddPartitions, Reply, Request};
use crate::partition::verification::{Guard, Verified, told_of_refusal};
use crate::reactor::Class;
use crate::wire::batch::Batch;
use crate::wire::error::ErrorCode;
use crate::wire::schema::AddPartitionsToTxnTopic;

/// From this version of Produce on, the broker adds the partition itself.
const IS_ADDED: i16 = 12;
/// The version of AddPartitionsToTxn in which brokers ask.
const AS_BROKER: i16 = 5;
/// The defaults of `add.partitions.to.txn.retry.backoff.ms` and `add.partitions.to.txn.retry.backoff.max.ms`.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// What a transaction coordinator is asked; gives an error for each partition, in the order of the question.
pub type AskTransactions = Rc<dyn Fn(AddPartitions) -> Asking>;

/// An answer to come.
pub type Asking = Pin<Box<dyn Future<Output = Vec<ErrorCode>>>>;

/// What a producer wants done with the partitions that he writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// They were added to the transaction before: look whether they were.
    Verify,
    /// They are to be added.
    Add,
}

impl Mode {
    /// By the version of a Produce request.
    pub fn of_produce(version: i16) -> Mode {
        if version >= IS_ADDED { Mode::Add } else { Mode::Verify }
    }
}

/// Asks the coordinator of a transaction about partitions, and gives an error for each, in their order. An addition is
/// tried again for a moment while the transaction before is being ended.
pub async fn verify(
    core: &Core,
    transactional_id: &str,
    producer: Producer,
    topics: Vec<AddPartitionsToTxnTopic>,
    mode: Mode,
) -> Vec<ErrorCode> {
    let question = AddPartitions {
        transactional_id: transactional_id.to_string(),
        producer,
        verify_only: mode == Mode::Verify,
        topics,
    };
    let began = core.reactor.now();
    loop {
        let errors = ask_once(core, question.clone()).await;
        let is_busy = errors.contains(&ErrorCode::CONCURRENT_TRANSACTIONS);
        if mode == Mode::Verify || !is_busy || core.reactor.now().since(began) >= TRY_AGAIN.1 {
            return errors;
        }
        core.reactor.sleep(TRY_AGAIN.0).await;
    }
}

/// Asks the coordinator once.
async fn ask_once(core: &Core, question: AddPartitions) -> Vec<ErrorCode> {
    let id = question.transactional_id.clone();
    let Reply::AddPartitions(result) = ask(core, &id, AS_BROKER, Request::AddPartitions(question)).await
    else {
        unreachable!("a coordinator answers what it was asked")
    };
    let parts = result.topic_results.iter().flat_map(|topic| &topic.results_by_partition);
    parts.map(|part| part.partition_error_code).collect()
}

/// The way of a core's shard to the coordinators of transactions.
pub fn asker(core: &Rc<Core>) -> AskTransactions {
    let core = Rc::downgrade(core);
    Rc::new(move |question| {
        let core = core.upgrade().expect("a core lives as long as its shard works");
        Box::pin(async move {
            let mode = if question.verify_only { Mode::Verify } else { Mode::Add };
            verify(&core, &question.transactional_id, question.producer, question.topics, mode).await
        })
    })
}

/// The batches of one producer that wait for the coordinator of their transaction, in order.
pub struct Verifying {
    number: u64,
    queue: Vec<Queued>,
}

impl Verifying {
    /// What waits.
    pub fn into_queue(self) -> Vec<Queued> {
        self.queue
    }
}

/// A question about one producer in one partition.
struct Question {
    replica: Rc<Replica>,
    transaction: Arc<TransactionNamed>,
    producer: Producer,
    number: u64,
    guard: Guard,
}

/// What a shard asks the coordinators of transactions.
#[derive(Default)]
pub struct Questions {
    ask: RefCell<Option<AskTransactions>>,
    /// To be asked when the turn is over.
    gathered: RefCell<Vec<Question>>,
    last: Cell<u64>,
}

impl Shard {
    /// Tells the way to the coordinators of transactions.
    pub fn set_transactions(&self, ask: AskTransactions) {
        *self.questions.ask.borrow_mut() = Some(ask);
    }

    /// Gives a batch back that may be looked at now; one whose coordinator is to be asked first comes back then.
    pub(super) fn verify_first(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        online: &mut Online,
        part: ProducePart,
        index: usize,
        pending: &Rc<Pending>,
    ) -> Option<ProducePart> {
        let By::Client(Some(transaction)) = &part.by else { return Some(part) };
        if part.verified != Verified::No {
            return Some(part);
        }
        let Ok(header) = Batch::first(&part.batch).map(|batch| batch.header()) else { return Some(part) };
        if let Some(verifying) = online.verifying.get_mut(&header.producer_id) {
            verifying.queue.push((part, pending.clone(), index));
            return None;
        }
        let is_second = transaction.version >= IS_ADDED;
        let now_ms = self.reactor.wall_clock_ms();
        let Some(guard) = online.partition.verification(&header, is_second, now_ms) else {
            return Some(part);
        };
        let number = self.questions.last.get() + 1;
        self.questions.last.set(number);
        let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
        let question =
            Question { replica: replica.clone(), transaction: transaction.clone(), producer, number, guard };
        let queue = vec![(part, pending.clone(), index)];
        online.verifying.insert(producer.id, Verifying { number, queue });
        self.ask_when_turn_is_over(question);
        None
    }

    fn ask_when_turn_is_over(self: &Rc<Shard>, question: Question) {
        let mut gathered = self.questions.gathered.borrow_mut();
        gathered.push(question);
        if gathered.len() > 1 {
            return;
        }
        let shard = self.clone();
        self.reactor.spawn(Class::Request, async move {
            let mut groups: BTreeMap<(Arc<TransactionNamed>, Producer), Vec<Question>> = BTreeMap::new();
            for question in shard.questions.gathered.take() {
                let group = (question.transaction.clone(), question.producer);
                groups.entry(group).or_default().push(question);
            }
            for (_, group) in groups {
                let asking = shard.clone();
                shard.reactor.spawn(Class::Request, async move { asking.ask_about(group).await });
            }
        });
    }

    /// Asks about one transaction, in all of these partitions.
    async fn ask_about(self: Rc<Shard>, group: Vec<Question>) {
        let Some(Question { transaction, producer, .. }) = group.first() else { return };
        let topics = group.iter().map(|question| AddPartitionsToTxnTopic {
            name: question.replica.topic.to_string(),
            partitions: vec![question.replica.id.partition],
        });
        let question = AddPartitions {
            transactional_id: transaction.id.clone(),
            producer: *producer,
            verify_only: Mode::of_produce(transaction.version) == Mode::Verify,
            topics: topics.collect(),
        };
        let ask = self.questions.ask.borrow().clone();
        let errors = match ask {
            Some(ask) => ask(question).await,
            None => vec![ErrorCode::COORDINATOR_NOT_AVAILABLE; group.len()],
        };
        assert_eq!(errors.len(), group.len(), "each partition is answered for");
        for (question, error) in group.into_iter().zip(errors) {
            self.verified(question, error);
        }
    }

    /// The coordinator has answered: the first batch goes on or comes to nothing, and those behind it have their turn.
    fn verified(self: &Rc<Shard>, question: Question, error: ErrorCode) {
        let Question { replica, transaction, producer, number, guard } = question;
        // What was put out of service meanwhile, and what waits there, has been dealt with.
        let verifying = replica.online(|online| match online.verifying.get(&producer.id) {
            Some(verifying) if verifying.number == number => online.verifying.remove(&producer.id),
            _ => None,
        });
        let Some(Verifying { mut queue, .. }) = verifying.flatten() else { return };
        match error {
            ErrorCode::NONE => queue[0].0.verified = Verified::By(guard),
            error => {
                let (_, pending, index) = queue.remove(0);
                let told = told_of_refusal(error, transaction.version);
                let why =
                    format!("the coordinator of transaction {:?} answers {}", transaction.id, error.name());
                pending.settle(index, ProducePartReply::failed(told, Some(why)));
            }
        }
        self.produce_queued(queue);
    }
}
