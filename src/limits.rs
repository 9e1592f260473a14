//! Every bound of the broker, written once.
//!
//! Past a bound comes back-pressure or a Kafka error, never growth.

/// The unit in which files are written and read: every direct write starts and ends on it.
pub const BLOCK: usize = 4096;

/// The smallest tail chunk, for a partition that hardly ever gets a record.
pub const CHUNK_MIN: usize = 4 << 10;
/// The largest chunk that the pool keeps for reuse; a larger one comes from and goes to the allocator.
pub const CHUNK_MAX: usize = 1 << 20;
/// The tail chunk of a busy partition.
pub const CHUNK_BUSY: usize = 512 << 10;
/// The tail chunk of a partition holds what it gets in so many milliseconds: a core's partitions hold no more open
/// together than what the core gets in that time, and a block each.
pub const CHUNK_SPAN_MS: u64 = 50;
/// Idle chunks that a core gives back to the system in one go: each is a system call.
pub const TRIMMED_AT_ONCE: usize = 256;

/// Bytes of a core's tails that are kept in memory at first, whether somebody reads them or not.
pub const TAIL_MEMORY: usize = 16 << 20;
/// Bytes of what was read from files that a core keeps at first.
pub const READ_MEMORY: usize = 64 << 20;

/// The largest request frame (`socket.request.max.bytes`).
pub const FRAME_MAX: usize = 100 << 20;
/// Requests of one connection that are ordered but not answered; past it the connection reads no further.
pub const REQUESTS_IN_FLIGHT: usize = 64;
/// Bytes of one connection's requests that are ordered but not answered, beyond the first request.
pub const REQUEST_BYTES_IN_FLIGHT: usize = 32 << 20;
/// Messages under way from one core to another; past it the sender waits.
pub const BUS_CREDITS: usize = 1024;
/// Records of the metadata log that one command may make, and that are appended as one batch.
pub const METADATA_BATCH_RECORDS: usize = 10_000;
/// Bytes of small requests that wait on a core for their turn, beyond the first of each connection.
pub const QUEUED_BYTES: usize = 8 << 20;
/// What each of them is counted with besides its bytes.
pub const QUEUED_REQUEST: usize = 512;
/// While a flush is under way, a core gathers this many bytes before it begins to write the next round.
pub const ROUND_BYTES: usize = 1 << 20;
/// How long a core is quiet before the stable ends of its last round are written for their own sake.
pub const MARK_DELAY: std::time::Duration = std::time::Duration::from_millis(200);
/// Bytes of one read from disk for consumers, and of what is cached of such reads.
pub const READ_WINDOW: usize = 512 << 10;
/// Free bytes of a log directory's file system below which no more records are taken.
pub const DISK_RESERVE: u64 = 256 << 20;
/// Free bytes below which it is looked more often how many are left: a second's writes must not go past the reserve.
pub const DISK_LOW: u64 = 8 << 30;
/// How often it is looked then.
pub const SPACE_LOOK_LOW: std::time::Duration = std::time::Duration::from_millis(50);
/// Bytes of the indexes of finished segments that a core keeps.
pub const INDEX_CACHE: usize = 8 << 20;
/// Bytes that one batch may have when decompressed, where the broker looks into it.
pub const DECOMPRESSED_MAX: usize = 128 << 20;
/// Messages that wait for credits to one core; past it, connections read no further requests.
pub const BUS_LANE: usize = 256;
/// The largest request frame of any API but Produce. What is small on the wire may be large in memory.
pub const FRAME_MAX_OTHER: usize = 16 << 20;
/// Bytes of memory that each list element of a request is counted with, together with its part of the answer.
pub const REQUEST_ELEMENT: usize = 512;
/// The fewest and the most list elements that a request may have; between them, as many as the core's memory for
/// requests allows.
pub const REQUEST_ELEMENTS: (usize, usize) = (32 << 10, 1 << 20);
/// A request takes at most so many times its bytes in memory, together with its answer.
pub const REQUEST_GROWTH: usize = 64;
/// The least memory for requests on a core.
pub const REQUEST_MEMORY_MIN: usize = REQUEST_ELEMENTS.0 * REQUEST_ELEMENT;
/// List elements of a Produce request that is ordered without asking for memory first.
pub const PRODUCE_ELEMENTS: usize = 1024;
/// Memory that a Fetch request may take without asking for it: most fetches wait, and they are many.
pub const FETCH_REQUEST_FREE: usize = 64 << 10;
/// The least and the most memory that an answer without records may take; between them, half of the core's memory
/// for requests.
pub const ANSWER_MEMORY: (usize, usize) = (16 << 20, 512 << 20);
/// Parts of commands that may wait for the controller; one command may have more when no other waits.
pub const COMMAND_PARTS: usize = 100_000;
/// Requests up to this size get memory of their own; larger ones a chunk of the pool.
pub const FRAME_SMALL: usize = 2 << 10;
/// Bytes that an idle connection has ready to receive into.
pub const READ_AHEAD_IDLE: usize = 1 << 10;
/// Bytes that a connection with many small requests has ready to receive into.
pub const READ_AHEAD_BUSY: usize = 16 << 10;
/// Within this time, and [`FRAME_RATE`] on top, a frame that holds memory of the pool must have arrived.
pub const FRAME_TIME: std::time::Duration = std::time::Duration::from_secs(30);
/// Bytes a second at which a frame that holds memory of the pool must arrive at least.
pub const FRAME_RATE: usize = 64 << 10;
/// The same for a frame for whose memory others wait.
pub const FRAME_STALL: std::time::Duration = std::time::Duration::from_secs(1);
/// Bytes of a frame that must be there before it may wait for memory of the pool together with others.
pub const FRAME_PROOF: usize = READ_AHEAD_BUSY;
/// Bytes of records that a fetch reply may have in any case, however many others hold memory.
pub const FETCH_REPLY_LEAST: usize = 64 << 10;
/// Endings of connections that a core tells of in [`ENDINGS_SPAN`]; further ones are counted.
pub const ENDINGS_TOLD: usize = 20;
/// See [`ENDINGS_TOLD`].
pub const ENDINGS_SPAN: std::time::Duration = std::time::Duration::from_secs(10);
/// Replies that are ready leave together until they have this many bytes.
pub const SEND_TOGETHER: usize = 256 << 10;
/// Bytes of records in one fetch reply, whatever the client allows; one batch may be larger.
pub const FETCH_REPLY_BYTES: usize = 8 << 20;
/// How long a connection may take no byte of what is sent to it while others wait for the memory it holds.
pub const SEND_STALL: std::time::Duration = std::time::Duration::from_secs(5);
/// Fetch sessions of the whole broker (`max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS: usize = 1000;
/// Partitions in all fetch sessions of a core; past it, clients are served without sessions.
pub const FETCH_SESSION_PARTITIONS: usize = 500_000;
/// How often a core looks at its connections for idle and stalled ones.
pub const CONNECTIONS_LOOK: std::time::Duration = std::time::Duration::from_secs(1);
/// Bytes of batches that a core has compressed anew and whose requests are not answered.
pub const RECOMPRESSED_BYTES: usize = 32 << 20;
/// Producers that the partitions of a core know together, each counted in each partition it writes to: some 100 bytes
/// for one batch, 200 for more. Past it, the one that was silent longest of some of the same partition makes way for
/// a new one; its next batch is taken as that of an unknown producer.
pub const PRODUCERS: usize = 1 << 20;
/// How many producers are looked at in one go: for expiry, for a snapshot, for an answer.
pub const PRODUCERS_TURN: usize = 4096;

/// Damaged places that are remembered of a partition, so that each is told once.
pub const ROT_NOTED: usize = 64;

/// Records of a coordinator that are gathered into one batch; those of one event stay together even past it.
pub const COORDINATOR_BATCH_RECORDS: usize = 10_000;
/// Bytes of records that are gathered into one batch.
pub const COORDINATOR_BATCH_BYTES: usize = 512 << 10;
/// Timers of a coordinator that fire in one go.
pub const COORDINATOR_TIMERS_TURN: usize = 256;
/// Groups that are looked at in one go: when loading ends, for expiry, for topics that were deleted.
pub const GROUPS_TURN: usize = 1024;
/// Offsets that are deleted in one go by expiry or because their topic was deleted.
pub const OFFSETS_TURN: usize = 4096;
/// Member ids of one group that were handed out and not used yet; past it, a new member is told that the group is full.
pub const GROUP_PENDING_MEMBERS: usize = 20_000;
/// Different patterns of one group by which members subscribe.
pub const GROUP_PATTERNS: usize = 1000;
/// Bytes that a pattern may take once it is read, and twice as much for matching with it.
pub const PATTERN_BYTES: usize = 256 << 10;
/// How many times a topic is held against a pattern in one go.
pub const PATTERN_MATCHES_TURN: usize = 10_000;
/// Sets of deleted topics whose offsets are still to be looked for.
pub const TOPIC_SWEEPS: usize = 64;
/// Transactional ids that are looked at in one go: when loading ends, for expiry, for timeouts.
pub const TRANSACTIONS_TURN: usize = 1024;
/// After how long markers that were not written are tried again.
pub const MARKERS_RETRY_MS: u64 = 100;
/// Producers of one partition that the transaction coordinator is being asked about; past it, the one that was asked
/// about first has to be asked about again.
pub const VERIFICATIONS: usize = 10_000;

/// Producers that a coordinator of groups knows because they commit offsets within transactions. Beyond that those that
/// were silent longest are forgotten; their partition still knows them.
pub const COMMITTERS: usize = 50_000;
