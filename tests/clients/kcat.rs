//! kcat as a person uses it.

use crate::support::broker;

#[test]
fn lists_brokers_topics_and_partitions() {
    let broker = broker();
    let topic = broker.topic("listed", 3, &[]);
    let listed = broker.kcat(&["-L"], "");
    let node = listed.lines().find(|line| line.starts_with("  broker ")).unwrap();
    assert!(node.contains(&format!(" at {}", broker.address)), "{listed}");
    let id = node.split_whitespace().nth(1).unwrap();
    assert!(listed.contains(&format!("  topic \"{topic}\" with 3 partitions:\n")), "{listed}");
    for partition in 0..3 {
        let line = format!("    partition {partition}, leader {id}, replicas: {id}, isrs: {id}\n");
        assert!(listed.contains(&line), "{listed}");
    }
    let listed: serde_json::Value =
        serde_json::from_str(&broker.kcat(&["-L", "-J", "-t", &topic], "")).unwrap();
    assert_eq!(listed["topics"][0]["topic"], topic.as_str());
    assert_eq!(listed["topics"][0]["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(listed["brokers"][0]["name"], broker.address.as_str());
}

#[test]
fn writes_and_reads_keys_headers_and_nulls() {
    let broker = broker();
    let topic = broker.topic("fields", 1, &[]);
    let put = |more: &[&str], input: &str| {
        broker.kcat(&[&["-P", "-t", &topic, "-p", "0"], more].concat(), input);
    };
    put(&["-K:", "-H", "a=1", "-H", "b=two"], "k1:v1\nk2:v2\n");
    put(&["-K:", "-Z"], "k3:\n:v4\n");
    put(&[], "no key\n");
    put(&["-D;", "-k", "same"], "x;y\nz;");
    let get = |more: &[&str]| broker.kcat(&[&["-C", "-t", &topic, "-e", "-q"], more].concat(), "");
    assert_eq!(
        get(&["-f", "%t %p %o %k/%K %s/%S %h\\n"]).replace(&topic, "T"),
        "T 0 0 k1/2 v1/2 a=1,b=two\n\
         T 0 1 k2/2 v2/2 a=1,b=two\n\
         T 0 2 k3/2 /-1 \n\
         T 0 3 /-1 v4/2 \n\
         T 0 4 /-1 no key/6 \n\
         T 0 5 same/4 x/1 \n\
         T 0 6 same/4 y\nz/3 \n"
    );
    let json = get(&["-J", "-c", "3"]);
    let json: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json.len(), 3);
    assert_eq!(
        (&json[0]["key"], &json[0]["payload"], &json[0]["offset"]),
        (&"k1".into(), &"v1".into(), &0.into())
    );
    assert_eq!(json[0]["headers"], serde_json::json!(["a", "1", "b", "two"]));
    assert_eq!(json[2]["payload"], serde_json::Value::Null);
    assert_eq!((&json[0]["tstype"], json[0]["ts"].as_i64().unwrap() > 0), (&"create".into(), true));
}

#[test]
fn reads_from_offsets_and_times() {
    let broker = broker();
    let topic = broker.topic("offsets", 1, &[]);
    let lines: String = (0..30).map(|n| format!("{n}\n")).collect();
    broker.kcat(&["-P", "-t", &topic, "-p", "0"], &lines);
    let get = |more: &[&str]| -> Vec<i64> {
        let read = broker.kcat(&[&["-C", "-t", &topic, "-p", "0", "-e", "-q"], more].concat(), "");
        read.lines().map(|line| line.parse().unwrap()).collect()
    };
    assert_eq!(get(&["-o", "beginning"]), (0..30).collect::<Vec<_>>());
    assert_eq!(get(&["-o", "13", "-c", "4"]), [13, 14, 15, 16]);
    assert_eq!(get(&["-o", "-2"]), [28, 29]);
    assert_eq!(get(&["-o", "end"]), [0i64; 0]);
    assert_eq!(get(&["-o", "30"]), [0i64; 0]);
    let times = broker.kcat(&["-C", "-t", &topic, "-e", "-q", "-f", "%T\\n"], "");
    let times: Vec<i64> = times.lines().map(|line| line.parse().unwrap()).collect();
    let since = |from: i64| times.iter().filter(|time| **time >= from).count();
    assert_eq!(get(&["-o", &format!("s@{}", times[29])]).len(), since(times[29]));
    assert_eq!(get(&["-o", "s@0", "-o", &format!("e@{}", times[29] + 1)]).len(), 30);
    // After all: kcat begins at the end.
    assert_eq!(get(&["-o", &format!("s@{}", times[29] + 1)]), [0i64; 0]);
    let asked = broker.kcat(&["-Q", "-t", &format!("{topic}:0:{}", times[0])], "");
    assert_eq!(asked, format!("{topic} [0] offset 0\n"));
    let asked = broker.kcat(&["-Q", "-t", &format!("{topic}:0:-1")], "");
    assert_eq!(asked, format!("{topic} [0] offset 30\n"));
}

#[test]
fn writes_with_every_codec() {
    let broker = broker();
    let topic = broker.topic("codecs", 2, &[]);
    let mut wanted = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: Vec<String> = (0..500).map(|n| format!("{codec} {n}")).collect();
        let all = lines.join("\n");
        broker.kcat(&["-P", "-t", &topic, "-p", "0", "-z", codec], &all);
        broker.kcat(&["-P", "-t", &topic, "-p", "1", "-X", &format!("compression.codec={codec}")], &all);
        wanted.extend(lines);
    }
    for partition in ["0", "1"] {
        let read =
            broker.kcat(&["-C", "-t", &topic, "-p", partition, "-e", "-q", "-X", "check.crcs=true"], "");
        assert_eq!(read.lines().collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn is_told_what_is_wrong() {
    let broker = broker();
    let topic = broker.topic("wrong", 1, &[]);
    let fails = |arguments: &[&str], input: &str| {
        let output = crate::support::kcat(&broker.address, arguments, input);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let limits = ["-X", "message.max.bytes=10000000"];
    let large = format!("{}\n", "x".repeat(2_000_000));
    let said = fails(&[&["-P", "-t", &topic, "-T"], &limits[..]].concat(), &large);
    assert!(said.contains("Message size too large"), "{said}");
    let said = fails(&["-C", "-t", &topic, "-p", "5", "-e"], "");
    assert!(said.contains("partition 5 does not exist"), "{said}");
    let nobody = broker.name("nobody");
    let said = fails(&["-C", "-t", &nobody, "-e", "-X", "topic.metadata.propagation.max.ms=0"], "");
    assert!(said.contains("Unknown topic or partition"), "{said}");
}
