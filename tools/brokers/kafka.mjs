// Apache Kafka in KRaft mode: one node that is broker and controller, from the jars that Maven publishes. Nothing is formatted by a
// program of its own: that would be a second start of a Java machine.
import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { run } from '../lib/process.mjs'
import { onPath } from './apt.mjs'
import { pause, startChild } from './child.mjs'
import { kafkaApiVersions } from './kafka-hello.mjs'
import { freePort, releasePort } from './ports.mjs'

const wanted = '4.1.1'
const scala = '2.13'
const logging = '1.7.36'
const jar = new RegExp(`^kafka_${scala.replace('.', '\\.')}-(\\d+\\.\\d+\\.\\d+)\\.jar$`)
/** How the files beside an unpacked server are named; a new form of them gets a new name. */
const formVersion = 1

const jarsIn = (folder) =>
  (existsSync(folder) ? readdirSync(folder).filter((name) => jar.test(name)) : []).map((name) => join(folder, name))

function javaFile() {
  const home = process.env.JAVA_HOME
  const inHome = home === undefined || home === '' ? undefined : join(home, 'bin', 'java')
  return inHome !== undefined && existsSync(inHome) ? inHome : onPath('java')
}

let machine
/** The Java machine: its file and major version. */
async function java() {
  machine ??= (async () => {
    const file = javaFile()
    if (file === undefined) throw new Error('there is no java')
    const { output } = await run(file, ['-version'], { cwd: '/', timeoutMs: 20_000 })
    const [, version] = /version "(\d[\w.+-]*)/.exec(output) ?? []
    if (version === undefined) throw new Error(`java -version says: ${output.trim().split('\n')[0]}`)
    if (Number(version.split('.')[0]) < 17) throw new Error(`Java ${version} is too old: it takes 17 or newer`)
    return { file, version }
  })()
  return await machine
}

const pom = (artifact) => `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>posthorn</groupId><artifactId>server</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>${artifact}</artifactId><version>${wanted}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>${logging}</version></dependency>
</dependencies></project>
`

/** The jars of an artifact and of all that it needs, in a folder. */
async function fetchJars(artifact, folder, target) {
  const file = join(folder, `${artifact}.xml`)
  writeFileSync(file, pom(artifact))
  const args = ['-q', '-B', '-f', file, 'dependency:copy-dependencies', `-DoutputDirectory=${join(folder, target)}`]
  const { code, output } = await run(onPath('mvn'), args, { cwd: folder, timeoutMs: 300_000 })
  if (code !== 0) throw new Error(`mvn ${args.at(-2)} failed:\n${output.trim().split('\n').slice(-8).join('\n')}`)
}

/** Options of the Java machine: quick to start and small; `fast` is for measurements. */
const options = (fast) =>
  fast ? ['-Xms1g', '-Xmx1g', '-XX:+UseG1GC'] : ['-Xms64m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
const classPath = (file) => ['-cp', join(dirname(file), '*')]
const quiet = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Djava.net.preferIPv4Stack=true']

/** How to find it; see find.mjs. */
export const kafka = {
  name: 'kafka',
  variable: 'POSTHORN_KAFKA',
  packages: [`org.apache.kafka:kafka_${scala}:${wanted}`],
  image: 'apache/kafka:4.1.1',
  inFolder: (folder) => jarsIn(join(folder, 'libs')),
  inSystem: () =>
    [process.env.KAFKA_HOME, '/opt/kafka', '/usr/share/kafka', '/opt/homebrew/opt/kafka/libexec']
      .filter((home) => home !== undefined && home !== '')
      .flatMap((home) => jarsIn(join(home, 'libs'))),
  async identify(file, folder) {
    const version = jar.exec(file.split('/').at(-1))?.[1]
    if (version === undefined) throw new Error(`it is not the jar kafka_${scala}-<version>.jar`)
    if (folder !== undefined && !existsSync(join(folder, 'tools'))) throw new Error('its programs of administration are missing')
    const { file: program, version: javaVersion } = await java()
    return { file, folder, java: program, javaVersion, version, title: `Kafka ${version}` }
  },
  obstacle: () => (onPath('mvn') === undefined ? 'its jars cannot be fetched without Maven (mvn)' : undefined),
  async unpack(folder) {
    await java()
    await fetchJars(`kafka_${scala}`, folder, 'libs')
    // Beside the server's: one jar more among them, and its kept classes would not be taken.
    await fetchJars('kafka-tools', folder, 'tools')
  },
  /** Keeps the classes as the machine reads them fastest: that is half of a start. Where it fails, starts are slower. */
  async finish({ file, folder, java: program, javaVersion, version }) {
    if (folder === undefined) return
    const home = mkdtempSync(join(tmpdir(), 'posthorn-kafka-'))
    const ports = [await freePort(), await freePort(), await freePort()]
    try {
      mkdirSync(join(folder, 'start'), { recursive: true })
      const at = { folder: home, port: ports[0], extra: ports.slice(1), bind: '127.0.0.1' }
      const server = kafkaServer({ file, folder, java: program, javaVersion, version, title: '' })
      await server.configure(at)
      const archive = archiveOf(folder, javaVersion)
      const { command, args, env } = server.command(at)
      const recording = [`-XX:ArchiveClassesAtExit=${archive}.new`, ...args.filter((arg) => !arg.startsWith('-XX:SharedArchiveFile'))]
      const child = await startChild({ command, args: recording, env, cwd: home, log: join(home, 'log') })
      for (let tries = 0; tries < 600 && child.end === undefined; tries += 1) {
        const answered = await server.ping(at).then(
          () => true,
          () => false,
        )
        if (answered) break
        await pause(100)
      }
      await child.signal('SIGTERM')
      if (existsSync(`${archive}.new`)) renameSync(`${archive}.new`, archive)
    } finally {
      rmSync(home, { recursive: true, force: true })
      for (const port of ports) releasePort(port)
    }
  },
  async external(url) {
    const at = new URL(url.split(',')[0].replace(/^kafkas?:/, 'http:'))
    const { versions } = await kafkaApiVersions({ port: Number(at.port || 9092), host: at.hostname, timeoutMs: 5_000 })
    // Its own version is not among what a server tells; what it speaks is.
    const produce = versions.get(0)
    if (produce === undefined) throw new Error('what answers is not Kafka')
    return { version: `(produce ${produce.max})`, title: 'Kafka', profile: 'durable' }
  },
}

const archiveOf = (folder, javaVersion) => join(folder, 'start', `classes-${formVersion}-${javaVersion}.jsa`)
/** An id as Kafka writes them. */
export const uuid = () => {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

/** Lines as Java reads them: nothing but ASCII. */
const plain = (lines) => `${lines.join('\n').replace(/[^\n -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`

/** What a node has before its first start: who it is, and the features of its version. */
async function format(found, { folder }, lines, users, { id, node }) {
  const data = join(folder, 'data')
  if (existsSync(join(data, 'meta.properties'))) return
  const scram = users.flatMap(({ name, password }) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => ['--add-scram', `${mechanism}=[name=${name},password=${password}]`]),
  )
  const made = async (target, extra) => {
    mkdirSync(target, { recursive: true })
    const file = join(folder, 'format.properties')
    writeFileSync(file, plain([...lines, `log.dirs=${target}`]), { mode: 0o600 })
    const args = [
      ...options(false),
      ...quiet,
      ...classPath(found.file),
      'kafka.tools.StorageTool',
      'format',
      '-t',
      id,
      '-c',
      file,
      ...extra,
    ]
    const { code, output } = await run(found.java, args, { cwd: folder, timeoutMs: 120_000 })
    rmSync(file, { force: true })
    if (code !== 0) throw new Error(`formatting failed:\n${output.trim()}`)
  }
  if (scram.length > 0) return await made(data, scram)
  // The features of a version are the same for all its nodes: written once, copied from then on.
  const kept = found.folder === undefined ? undefined : join(found.folder, 'start', `features-${formVersion}-${found.version}.checkpoint`)
  if (kept === undefined || !existsSync(kept)) {
    await made(data, [])
    if (kept === undefined) return
    mkdirSync(dirname(kept), { recursive: true })
    copyFileSync(join(data, 'bootstrap.checkpoint'), `${kept}.${process.pid}`)
    renameSync(`${kept}.${process.pid}`, kept)
    return
  }
  mkdirSync(data, { recursive: true })
  copyFileSync(kept, join(data, 'bootstrap.checkpoint'))
  writeFileSync(join(data, 'meta.properties'), `version=1\ncluster.id=${id}\nnode.id=${node}\ndirectory.id=${uuid()}\n`)
}

const plainModule = 'org.apache.kafka.common.security.plain.PlainLoginModule'
const scramModule = 'org.apache.kafka.common.security.scram.ScramLoginModule'
const tokenModule = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule'

/** Lines for a listener at which users log in, in every way that there is. */
function loginLines(users) {
  const at = 'listener.name.client'
  const known = users.map(({ name, password }) => `user_${name}="${password}"`).join(' ')
  return [
    `${at}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER`,
    `${at}.plain.sasl.jaas.config=${plainModule} required ${known};`,
    `${at}.scram-sha-256.sasl.jaas.config=${scramModule} required;`,
    `${at}.scram-sha-512.sasl.jaas.config=${scramModule} required;`,
    // Tokens without a signature: for tests only.
    `${at}.oauthbearer.sasl.jaas.config=${tokenModule} required unsecuredLoginStringClaim_sub="server";`,
    `${at}.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
  ]
}

function tlsLines(tls, folder) {
  const at = 'listener.name.client.ssl'
  return [
    `${at}.keystore.type=PEM`,
    `${at}.keystore.location=${join(folder, 'server.pem')}`,
    `${at}.truststore.type=PEM`,
    `${at}.truststore.location=${tls.ca}`,
    `${at}.client.auth=requested`,
  ]
}

/** Internal topics as small as may be, and no waiting that only large clusters need. */
const small = (copies) => [
  'auto.create.topics.enable=false',
  'offsets.topic.num.partitions=1',
  `offsets.topic.replication.factor=${copies}`,
  'transaction.state.log.num.partitions=1',
  `transaction.state.log.replication.factor=${copies}`,
  `transaction.state.log.min.isr=${Math.min(2, copies)}`,
  'share.coordinator.state.topic.num.partitions=1',
  `share.coordinator.state.topic.replication.factor=${copies}`,
  `share.coordinator.state.topic.min.isr=${Math.min(2, copies)}`,
  'group.initial.rebalance.delay.ms=0',
  'group.min.session.timeout.ms=1000',
  // A node that was killed is let in again once its old registration has run out.
  'broker.session.timeout.ms=1500',
  'broker.heartbeat.interval.ms=400',
  'log.cleaner.dedupe.buffer.size=2097152',
  'log.index.size.max.bytes=1048576',
  'num.network.threads=2',
  'num.io.threads=2',
  'num.replica.fetchers=1',
  'background.threads=2',
  'num.recovery.threads.per.data.dir=1',
]

/** One server of `found` with these options, for startInstance. */
export function kafkaServer(found, { settings = [], tls, users = [], fast = false, cluster } = {}) {
  const secured = users.length > 0
  const protocol = `${secured ? 'SASL_' : ''}${tls === undefined ? 'PLAINTEXT' : 'SSL'}`
  const encrypted = tls === undefined ? '' : '?tls=true'
  const node = cluster?.node ?? 1
  const lines = ({ folder, port, extra: [inner, controller], bind }) => [
    'process.roles=broker,controller',
    `node.id=${node}`,
    `controller.quorum.voters=${cluster?.voters ?? `1@127.0.0.1:${controller}`}`,
    `listeners=CLIENT://${bind}:${port},INNER://127.0.0.1:${inner},CONTROLLER://127.0.0.1:${controller}`,
    `advertised.listeners=CLIENT://127.0.0.1:${port},INNER://127.0.0.1:${inner}`,
    `listener.security.protocol.map=CLIENT:${protocol},INNER:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=INNER',
    ...small(cluster?.copies ?? 1),
    ...(cluster === undefined
      ? []
      : [`default.replication.factor=${cluster.copies}`, `min.insync.replicas=${Math.min(2, cluster.copies)}`]),
    ...(secured
      ? [
          'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
          'allow.everyone.if.no.acl.found=true',
          `super.users=${['ANONYMOUS', ...users.filter(({ tags = [] }) => tags.includes('super')).map(({ name }) => name)].map((name) => `User:${name}`).join(';')}`,
          ...loginLines(users),
        ]
      : []),
    ...(tls === undefined ? [] : tlsLines(tls, folder)),
    ...settings,
  ]
  const toolCommand = (tool, { extra: [inner] }) => {
    const name = tools[tool]
    if (name === undefined) throw new Error(`known are ${Object.keys(tools).join(', ')}, not "${tool}"`)
    // What comes with the server itself is not among the others.
    const inside = found.folder === undefined || name.startsWith('kafka.')
    const jars = inside ? classPath(found.file) : ['-cp', join(found.folder, 'tools', '*')]
    const machine = [...options(name.endsWith('Performance')), ...quiet, ...jars]
    // This one takes the address among the properties of its producer, and no other way.
    const at = tool === 'producer-perf' ? [] : ['--bootstrap-server', `127.0.0.1:${inner}`]
    return [found.java, ...machine, name, ...at]
  }
  return {
    ...found,
    name: 'kafka',
    profile: 'durable',
    bootMs: 120_000,
    pollMs: 25,
    extraPorts: 2,
    dataFolders: ['data'],
    url(port) {
      const [first] = users
      const who = first === undefined ? '' : `${encodeURIComponent(first.name)}:${encodeURIComponent(first.password)}@`
      return `kafka://${who}127.0.0.1:${port}${encrypted}`
    },
    async configure(at) {
      const { folder } = at
      const all = lines(at)
      if (tls !== undefined) {
        const { readFileSync } = await import('node:fs')
        writeFileSync(join(folder, 'server.pem'), `${readFileSync(tls.key, 'utf8')}\n${readFileSync(tls.cert, 'utf8')}`, { mode: 0o600 })
      }
      await format(found, at, all, users, { id: cluster?.id ?? uuid(), node })
      writeFileSync(join(folder, 'server.properties'), plain([...all, `log.dirs=${join(folder, 'data')}`]), { mode: 0o600 })
    },
    command({ folder }) {
      const archive = found.folder === undefined ? undefined : archiveOf(found.folder, found.javaVersion)
      const shared =
        !fast && archive !== undefined && existsSync(archive)
          ? [`-XX:SharedArchiveFile=${archive}`, '-Xlog:disable', '-Xlog:all=error:stderr']
          : []
      const args = [...options(fast), ...shared, ...quiet, ...classPath(found.file), 'kafka.Kafka', join(folder, 'server.properties')]
      return {
        command: found.java,
        args,
        env: { PATH: process.env.PATH ?? ['/usr/bin', '/bin'].join(delimiter), LANG: 'C.UTF-8' },
        cwd: folder,
      }
    },
    // The inner listener knows no users and no encryption.
    async ping({ extra: [inner] }) {
      await kafkaApiVersions({ port: inner, timeoutMs: 5_000, serving: true })
    },
    async control(args, at) {
      const [tool = '', ...rest] = args
      const [program, ...command] = toolCommand(tool, at)
      const { code, output } = await run(program, [...command, ...rest], { cwd: '/', timeoutMs: 60_000 })
      if (code !== 0) throw new Error(`${tool} failed:\n${output.trim()}`)
      return output.trimEnd()
    },
    toolCommand,
    container: ({ port, extra: [inner, controller] }) => ({
      environment: Object.fromEntries(
        lines({ folder: '', port, extra: [inner, controller], bind: '0.0.0.0' }).map((line) => {
          const [name, ...value] = line.split('=')
          return [`KAFKA_${name.toUpperCase().replaceAll('.', '_')}`, value.join('=')]
        }),
      ),
      files: [],
    }),
  }
}

/** The server's own programs of administration, as `control` names them. */
const tools = {
  topics: 'org.apache.kafka.tools.TopicCommand',
  groups: 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand',
  acls: 'org.apache.kafka.tools.AclCommand',
  configs: 'kafka.admin.ConfigCommand',
  'producer-perf': 'org.apache.kafka.tools.ProducerPerformance',
  'consumer-perf': 'org.apache.kafka.tools.ConsumerPerformance',
}
