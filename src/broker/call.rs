use super::messages::ShardReply;
use crate::reactor::sync::Completer;
pub enum Responder {
    Local(Completer<ShardReply>),
}
impl Responder {
    pub fn answer(self, r: ShardReply) {
        match self {
            Responder::Local(c) => c.complete(r),
        }
    }
}
