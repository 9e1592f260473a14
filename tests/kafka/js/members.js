// Members of groups with KafkaJS: BOOTSTRAP. What it is asked and what it says: see members.rs.

const readline = require('readline')
const { Kafka, PartitionAssigners, logLevel } = require('kafkajs')

const say = (...words) => process.stdout.write(words.join(' ') + '\n')
const REFUSALS = new Set(['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION'])

class Member {
  constructor(bootstrap, name, settings) {
    this.name = name
    this.settings = settings
    this.owned = []
    this.read = new Map()
    const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.WARN })
    this.consumer = kafka.consumer({
      groupId: settings.group,
      partitionAssigners: [PartitionAssigners.roundRobin],
      sessionTimeout: Number(settings.session),
      heartbeatInterval: 500,
      metadataMaxAge: 500,
      maxWaitTimeInMs: 100,
    })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => this.assigned(payload.memberAssignment))
    this.consumer.on(this.consumer.events.REBALANCING, () => this.revoked())
    this.consumer.on(this.consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) say(name, 'failed', payload.error)
    })
  }

  assigned(topics) {
    this.revoked()
    for (const [topic, partitions] of Object.entries(topics)) {
      partitions.forEach(partition => this.owned.push(`${topic}:${partition}`))
    }
    say(this.name, 'assigned', this.owned.join(','))
  }

  // What it was given before is no longer its own, and what it read of it is read anew unless it was committed.
  revoked() {
    if (this.owned.length) say(this.name, 'revoked', this.owned.join(','))
    this.owned = []
    this.read.clear()
  }

  async live() {
    await this.consumer.connect()
    const { pattern, topics, reset } = this.settings
    const wanted = pattern ? [new RegExp(pattern)] : topics.split(',')
    await this.consumer.subscribe({ topics: wanted, fromBeginning: reset === 'earliest' })
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ topic, partition, message }) => {
        say(this.name, 'read', topic, partition, message.offset, message.value)
        this.read.set(`${topic}:${partition}`, { topic, partition, offset: `${BigInt(message.offset) + 1n}` })
      },
    })
  }

  async commit(topic, partition, offset) {
    const places = topic ? [{ topic, partition: Number(partition), offset }] : [...this.read.values()]
    try {
      await this.consumer.commitOffsets(places)
      say(this.name, 'committed')
    } catch (error) {
      if (!REFUSALS.has(error.type)) throw error
      say(this.name, 'refused', error.type)
    }
  }

  async leave() {
    await this.consumer.disconnect()
    say(this.name, 'left')
  }
}

const members = new Map()
const lines = readline.createInterface({ input: process.stdin })
lines.on('line', line => {
  const [what, name, ...words] = line.split(' ')
  if (what === 'join') {
    members.set(name, new Member(process.argv[2], name, Object.fromEntries(words.map(word => word.split(/=(.*)/s)))))
  }
  const member = members.get(name)
  const done = { join: () => member.live(), commit: () => member.commit(...words), leave: () => member.leave() }[what]()
  done.catch(error => {
    console.error(error)
    say(name, 'failed', error)
  })
})
// Without a word to anybody.
lines.on('close', () => process.exit(0))
