// What KafkaJS makes of a broker: BOOTSTRAP TOPIC default|idempotent. Prints what it found, a line for each thing.

const { ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const Cluster = require('kafkajs/src/cluster')
const { createLogger } = require('kafkajs/src/loggers')
const LoggerConsole = require('kafkajs/src/loggers/console')
const createSocketFactory = require('kafkajs/src/network/socketFactory')

const RECORDS = 300

async function main(bootstrap, topic, mode) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  const wanted = {
    topic,
    numPartitions: 3,
    replicationFactor: 1,
    configEntries: [{ name: 'retention.ms', value: '123456000' }],
  }
  await admin.createTopics({ topics: [wanted] })
  console.log('again', !(await admin.createTopics({ topics: [wanted] })))
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  console.log('partitions', topics[0].partitions.length)
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
  const retention = resources[0].configEntries.find(({ configName }) => configName === 'retention.ms')
  console.log('retention.ms', retention.configValue)

  const producer = kafka.producer(mode === 'idempotent' ? { idempotent: true } : {})
  await producer.connect()
  const messages = Array.from({ length: RECORDS }, (_, i) => ({
    partition: i % 3,
    key: `key-${i}`,
    value: `value-${i}`,
    headers: { number: `${i}` },
  }))
  // An idempotent one sends one batch after the other.
  for (let i = 0; i < RECORDS; i += 60) {
    await producer.send({ topic, messages: messages.slice(i, i + 60) })
  }
  await producer.disconnect()

  const offsets = await admin.fetchTopicOffsets(topic)
  offsets.sort((a, b) => a.partition - b.partition)
  offsets.forEach(({ partition, low, high }) => console.log('offsets', partition, low, high))
  await admin.disconnect()
  for (let partition = 0; partition < 3; partition++) await read(bootstrap, topic, partition)
}

// Its consumer is always of a group; this is what it fetches with.
async function read(bootstrap, topic, partition) {
  const logger = createLogger({ level: logLevel.NOTHING, logCreator: LoggerConsole })
  const cluster = new Cluster({
    brokers: [bootstrap],
    clientId: 'kafkajs',
    connectionTimeout: 10000,
    authenticationTimeout: 10000,
    requestTimeout: 30000,
    enforceRequestTimeout: true,
    retry: {},
    logger,
    socketFactory: createSocketFactory(),
  })
  await cluster.connect()
  await cluster.addTargetTopic(topic)
  const leaders = cluster.findLeaderForPartitions(topic, [partition])
  const broker = await cluster.findBroker({ nodeId: Object.keys(leaders)[0] })
  for (let fetchOffset = 0; fetchOffset < RECORDS / 3; ) {
    const request = { partition, fetchOffset: `${fetchOffset}`, maxBytes: 1 << 20 }
    const { responses } = await broker.fetch({
      maxWaitTime: 1000,
      minBytes: 1,
      maxBytes: 1 << 20,
      topics: [{ topic, partitions: [request] }],
    })
    for (const { offset, key, value, headers } of responses[0].partitions[0].messages) {
      if (Number(offset) < fetchOffset) continue
      console.log('record', partition, offset, `${key}`, `${value}`, `number=${headers.number}`)
      fetchOffset = Number(offset) + 1
    }
  }
  await cluster.disconnect()
}

main(...process.argv.slice(2)).catch(error => {
  console.error(error)
  process.exit(1)
})
