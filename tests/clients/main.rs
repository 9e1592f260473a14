#[test]
fn features() {
    use rdkafka::config::ClientConfig;
    println!("{:?}", ClientConfig::new().create_native_config().unwrap().get("builtin.features"));
    println!("{:?}", rdkafka::util::get_rdkafka_version());
}
