//! ListGroups: there are no groups yet, and none can be made.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::wire::schema::{ListGroupsRequest, ListGroupsResponse};

/// None.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let _: ListGroupsRequest = asked.decode()?;
    asked.reply(&ListGroupsResponse::default())
}
