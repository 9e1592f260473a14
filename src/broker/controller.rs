pub enum Command {}
pub enum CommandReply {}
