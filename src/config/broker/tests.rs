use super::*;

fn read(text: &str) -> BrokerConfig {
    BrokerConfig::read(text, "server.properties", &[]).unwrap_or_else(|e| panic!("{e}"))
}

fn problem(text: &str) -> String {
    match BrokerConfig::read(text, "server.properties", &[]) {
        Ok(_) => panic!("{text:?} is accepted"),
        Err(problems) => problems.to_string(),
    }
}

fn listening(config: &BrokerConfig) -> Vec<String> {
    config.listeners.iter().map(ToString::to_string).collect()
}

/// In the form of the file that comes with Kafka, comments and all.
const STOCK: &str = "
############################# Server Basics #############################
# The role of this server.
process.roles=broker,controller

node.id=3

listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=localhost:9093
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\\
    SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=4
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn the_file_that_comes_with_kafka_is_accepted_as_it_stands() {
    let config = read(STOCK);
    assert_eq!((config.node_id, config.num_partitions), (3, 4));
    assert_eq!(listening(&config), ["PLAINTEXT://:9092"]);
    assert_eq!(config.advertised[0].to_string(), "PLAINTEXT://localhost:9092");
    assert_eq!(config.inter_broker_listener, "PLAINTEXT");
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kraft-combined-logs")]);
    assert_eq!(config.metadata_log_dir, config.log_dirs[0]);
    assert_eq!(config.socket_request_max_bytes, 104_857_600);
    let note = config.notes.iter().find(|note| note.setting == "num.io.threads").unwrap();
    assert!(matches!(note.kind, NoteKind::Ignored(_)));
    assert!(
        note.to_string().starts_with("server.properties, line 16: num.io.threads: ignored: each core"),
        "{note}"
    );
    let unknown =
        config.notes.iter().filter(|note| matches!(note.kind, NoteKind::Unknown(_) | NoteKind::Gone));
    assert_eq!(unknown.count(), 0);
}

#[test]
fn told_nothing_a_node_listens_on_this_machine_only() {
    let config = BrokerConfig::defaults();
    assert_eq!(listening(&config), ["PLAINTEXT://127.0.0.1:9092"]);
    assert_eq!(config.advertised, config.listeners);
    assert_eq!((config.node_id, config.num_partitions, config.default_replication_factor), (1, 1, 1));
    assert_eq!(config.log_dirs, [PathBuf::from("ottla-data")]);
    assert!(config.auto_create_topics && config.delete_topics);
    assert_eq!(config.connections_max_idle_ms, Some(600_000));
    assert_eq!(config.notes, []);
    let silent = read("node.id=1");
    assert!(silent.notes.iter().any(|note| note.setting == "listeners"));
}

#[test]
fn the_command_line_goes_before_the_file() {
    let over = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        BrokerConfig::read("node.id=1\nlisteners=PLAINTEXT://:1", "f", &pairs)
    };
    let config = over(&[("listeners", "PLAINTEXT://localhost:2"), ("log.dirs", "a,b")]).unwrap();
    assert_eq!(listening(&config), ["PLAINTEXT://localhost:2"]);
    assert_eq!(config.log_dirs, [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(config.layers.given("listeners").unwrap().0, "PLAINTEXT://localhost:2");
    let error = over(&[("num.partition", "2")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "on the command line: num.partition: there is no such setting. Did you mean 'num.partitions'?"
    );
}

#[test]
fn unknown_old_and_repeated_settings_are_noted() {
    let config = read(
        "zookeeper.connect=localhost:2181\nlog.retention.hour=1\nmy.plugin=x\nnode.id=1\nnode.id=2\n\
         inter.broker.protocol.version=3.9\nlisteners=PLAINTEXT://:9092",
    );
    assert_eq!(config.node_id, 2);
    let note = |name: &str| config.notes.iter().find(|note| note.setting == name).unwrap();
    assert_eq!(note("zookeeper.connect").kind, NoteKind::Gone);
    assert_eq!(note("inter.broker.protocol.version").kind, NoteKind::Gone);
    assert_eq!(note("log.retention.hour").kind, NoteKind::Unknown(Some("log.retention.hours")));
    assert_eq!(note("my.plugin").kind, NoteKind::Unknown(None));
    assert_eq!(note("node.id").kind, NoteKind::GivenAgain(5));
    assert_eq!(note("node.id").at, Place::Line("server.properties".into(), 4));
}

#[test]
fn wrong_values_name_the_line_the_setting_and_what_is_allowed() {
    for (text, expected) in [
        (
            "\n\nnum.partitions=0",
            "server.properties, line 3: num.partitions: Invalid value 0 for configuration num.partitions: Value must \
             be at least 1",
        ),
        ("a=\\u1", "server.properties, line 1: the file: \\u must be followed by four hexadecimal digits"),
        ("log.retention.hours=0", "must be unlimited (-1), or equal or greater than 1"),
        ("node.id=1\nbroker.id=2", "line 2: broker.id: it is 2, but node.id is 1"),
        ("process.roles=controller", "process.roles: a node is always a broker here"),
        ("listeners=PLAINTEXT://:9092,SSL://:9093", "SSL://:9093 speaks SSL, which is not built yet"),
        ("listeners=INSIDE://:9092", "add INSIDE:PLAINTEXT to listener.security.protocol.map"),
        ("listeners=PLAINTEXT://:9092,SSL://:9092", "cannot share a port"),
        (
            "listeners=CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER",
            "no listener for clients is left",
        ),
        ("listeners=", "no listener for clients is left"),
        (
            "advertised.listeners=OTHER://h:1\nlistener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "there is no listener OTHER",
        ),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:1", "no client can connect to 0.0.0.0"),
        ("inter.broker.listener.name=INSIDE", "there is no listener INSIDE"),
        ("inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=SSL", "not both"),
        ("listener.security.protocol.map=A:B", "SASL_PLAINTEXT or SASL_SSL"),
        ("log.dirs=", "name at least one folder"),
        ("log.dirs=/a,/b,/c\nlog.dir=/d\nmin.insync.replicas=x", "Not a number of type INT"),
        (
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "everyone may do everything",
        ),
        ("config.providers=file", "cannot be honoured"),
    ] {
        let told = problem(text);
        assert!(told.contains(expected), "{text:?}:\n{told}");
    }
    assert_eq!(problem("num.partitions=0\nnode.id=x").lines().count(), 2, "all problems are told at once");
    assert!(read("authorizer.class.name=").notes.iter().all(|note| note.setting != "authorizer.class.name"));
}

#[test]
fn several_listeners_are_advertised_each_by_its_own_address() {
    let mut config = read(
        "listeners=INSIDE://:9092,OUTSIDE://10.0.0.1:9094\n\
         advertised.listeners=OUTSIDE://broker.example:19094,inside://:9092\n\
         listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT\n\
         inter.broker.listener.name=INSIDE",
    );
    config.advertise_as("host.example");
    let advertised: Vec<_> = config.advertised.iter().map(ToString::to_string).collect();
    assert_eq!(advertised, ["INSIDE://host.example:9092", "OUTSIDE://broker.example:19094"]);
    let mut config = read("listeners=PLAINTEXT://0.0.0.0:9092");
    config.advertise_as("me");
    assert_eq!(config.advertised[0].to_string(), "PLAINTEXT://me:9092");
    let missing = problem(
        "listeners=A://:1,B://:2\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\nadvertised.listeners=A://h:1",
    );
    assert!(missing.contains("the listener B is missing"), "{missing}");
}

/// What the file for a broker of its own says that comes with Kafka.
const STOCK_BROKER: &str = "
process.roles=broker
node.id=2
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://localhost:9092
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,\\
    SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-broker-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn the_file_for_a_broker_of_its_own_is_accepted_as_it_stands() {
    let config = read(STOCK_BROKER);
    assert_eq!((config.node_id, listening(&config)), (2, vec!["PLAINTEXT://localhost:9092".to_owned()]));
    let told: Vec<_> = config.notes.iter().map(|note| note.setting.as_str()).collect();
    for ignored in [
        "num.network.threads",
        "num.io.threads",
        "socket.send.buffer.bytes",
        "num.recovery.threads.per.data.dir",
    ] {
        assert!(told.contains(&ignored), "{ignored} is told: {told:?}");
    }
    for acts in ["node.id", "listeners", "log.dirs", "log.retention.hours", "socket.request.max.bytes"] {
        assert!(!told.contains(&acts), "{acts}");
    }
}

#[test]
fn the_file_for_a_controller_of_its_own_is_refused_with_what_to_do() {
    let file = "process.roles=controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
                listeners=CONTROLLER://:9093\nadvertised.listeners=CONTROLLER://localhost:9093\n\
                controller.listener.names=CONTROLLER\nlog.dirs=/tmp/kraft-controller-logs\n";
    let told = problem(file);
    assert!(told.contains("line 1: process.roles: a node is always a broker here"), "{told}");
    assert!(told.contains("write listeners=PLAINTEXT://:9092"), "{told}");
    assert!(!told.contains("listener.security.protocol.map"), "what is right is not blamed: {told}");
}
