// RabbitMQ, with one name service of its own (epmd) per instance, as a child in the foreground: the usual one is shared, has a fixed
// port and stays behind as a daemon.
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { run } from '../lib/process.mjs'
import { amqpHandshake } from './amqp-handshake.mjs'
import { libraryPath, onPath } from './apt.mjs'

const folders = (base) => (existsSync(base) ? readdirSync(base).map((name) => join(base, name)) : [])
/** Scripts of the servers below a `lib` folder, newest first. */
const scripts = (base) =>
  folders(base)
    .filter((path) => /rabbitmq_server-[\d.]+$/.test(path))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((path) => join(path, 'sbin', 'rabbitmq-server'))

/** The folder of Erlang: what was unpacked with the server, else the system's. */
function erlangOf(folder) {
  const unpacked = folder === undefined ? undefined : join(folder, 'usr', 'lib', 'erlang')
  if (unpacked !== undefined && existsSync(join(unpacked, 'bin', 'erl'))) return unpacked
  const erl = onPath('erl')
  return erl === undefined ? undefined : dirname(dirname(realpathSync(erl)))
}

/** How to find it; see find.mjs. */
export const rabbitmq = {
  name: 'rabbitmq',
  variable: 'POSTHORN_RABBITMQ',
  packages: ['rabbitmq-server'],
  image: 'rabbitmq:4.1.4-management-alpine',
  inFolder: (folder) => [
    ...scripts(join(folder, 'usr', 'lib', 'rabbitmq', 'lib')),
    ...scripts(folder),
    join(folder, 'sbin', 'rabbitmq-server'),
  ],
  // What is on the PATH is often a wrapper that insists on a user and folders of its own.
  inSystem: () => [
    ...['/usr/lib/rabbitmq/lib', '/usr/local/lib/rabbitmq/lib', '/opt'].flatMap(scripts),
    ...['/opt/rabbitmq/sbin', '/opt/homebrew/opt/rabbitmq/sbin', '/usr/local/opt/rabbitmq/sbin'].map((path) =>
      join(path, 'rabbitmq-server'),
    ),
  ],
  async identify(file, folder) {
    const home = dirname(dirname(realpathSync(file)))
    const versions = folders(join(home, 'plugins')).map((path) => /\/rabbit-(\d[\w.-]*?)(\.ez)?$/.exec(path)?.[1])
    const version = versions.find((one) => one !== undefined)
    if (version === undefined) throw new Error(`there is no server in ${join(home, 'plugins')}`)
    const erlang = erlangOf(folder)
    if (erlang === undefined) throw new Error('there is no Erlang')
    return { file, folder, home, erlang, version, title: `RabbitMQ ${version}` }
  },
  /** Erlang's programs know their folder by an absolute path. */
  prepare(folder, target) {
    const bin = join(folder, 'usr', 'lib', 'erlang', 'bin')
    for (const name of ['erl', 'start']) {
      const file = join(bin, name)
      if (existsSync(file)) writeFileSync(file, readFileSync(file, 'utf8').replaceAll('=/usr/lib/erlang', `=${target}/usr/lib/erlang`))
    }
  },
  async external(url) {
    const { product, version } = await amqpHandshake(url)
    // A durable queue and a persistent message survive on every RabbitMQ.
    return { version, title: `${product} ${version}`, profile: 'durable' }
  },
}

const nodeOf = (port) => `t${port}@localhost`

function environment({ home, erlang, folder: unpacked }, { folder, port, extra: [epmd, distribution] }) {
  const at = (name) => join(folder, name)
  return {
    HOME: folder,
    PATH: [join(erlang, 'bin'), '/usr/bin', '/bin'].join(delimiter),
    LANG: 'C.UTF-8',
    ...(unpacked === undefined ? {} : { LD_LIBRARY_PATH: libraryPath(unpacked) }),
    // Parts of Erlang that the system lacked lie beside the server, even where Erlang itself is the system's.
    ERL_LIBS: [join(home, 'plugins'), ...(unpacked === undefined ? [] : [join(unpacked, 'usr', 'lib', 'erlang', 'lib')])].join(delimiter),
    ERL_EPMD_PORT: String(epmd),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_CRASH_DUMP_SECONDS: '0',
    ERL_MAX_ETS_TABLES: '50000',
    SYS_PREFIX: '',
    RABBITMQ_HOME: home,
    RABBITMQ_CONF_ENV_FILE: at('none'),
    RABBITMQ_NODENAME: nodeOf(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: at('advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: at('enabled_plugins'),
    RABBITMQ_MNESIA_BASE: at('data'),
    RABBITMQ_LOG_BASE: at('log'),
    RABBITMQ_GENERATED_CONFIG_DIR: at('generated'),
    RABBITMQ_PLUGINS_EXPAND_DIR: at('expanded'),
    RABBITMQ_PID_FILE: at('pid'),
  }
}

/** The folder of Erlang's machine itself. */
const runtimeOf = (erlang) => join(folders(erlang).find((path) => /erts-[\d.]+$/.test(path)) ?? erlang, 'bin')

/** What `rabbitmqctl import_definitions` reads: users, virtual hosts, and who may do what where. */
function definitions(users, vhosts) {
  const hash = (password) => {
    const salt = randomBytes(4)
    return Buffer.concat([salt, createHash('sha256').update(salt).update(password).digest()]).toString('base64')
  }
  return {
    users: users.map(({ name, password, tags = [] }) => {
      return { name, password_hash: hash(password), hashing_algorithm: 'rabbit_password_hashing_sha256', tags }
    }),
    vhosts: vhosts.map((name) => ({ name })),
    permissions: users.flatMap(({ name, permissions: { configure = '.*', write = '.*', read = '.*' } = {} }) =>
      vhosts.map((vhost) => ({ user: name, vhost, configure, write, read })),
    ),
  }
}

/** One server of `found` with these options, for startInstance. */
export function rabbitmqServer(found, { settings = [], tls, users = [], plugins = [], vhosts = [] } = {}) {
  const guest = { name: 'guest', password: 'guest', tags: ['administrator'] }
  // With users, the launcher has one of its own, and there is no guest.
  const admin = users.length > 0 ? { ...guest, name: 'posthorn-launcher', password: randomBytes(16).toString('hex') } : guest
  const address = (port, { name, password }, vhost) => {
    const path = vhost === undefined || vhost === '/' ? '' : `/${encodeURIComponent(vhost)}`
    const who = `${encodeURIComponent(name)}:${encodeURIComponent(password)}`
    return `${tls === undefined ? 'amqp' : 'amqps'}://${who}@127.0.0.1:${port}${path}`
  }
  const control = async (args, at) => {
    const options = { env: environment(found, at), cwd: at.folder, timeoutMs: 60_000 }
    const { code, output } = await run(join(dirname(found.file), 'rabbitmqctl'), ['-q', '-n', nodeOf(at.port), ...args], options)
    if (code !== 0) throw new Error(`rabbitmqctl ${args[0]} failed:\n${output.trim()}`)
    return output.trimEnd()
  }
  const isFurnished = users.length > 0 || vhosts.length > 0
  const furnish = async (ctl, { folder }) => {
    if (isFurnished) await ctl(['import_definitions', join(folder, 'definitions.json')])
  }
  return {
    ...found,
    name: 'rabbitmq',
    profile: 'durable',
    bootMs: 180_000,
    pollMs: 50,
    extraPorts: 2,
    dataFolders: ['data', 'generated', 'expanded', 'log'],
    url: (port) => address(port, users[0] ?? guest, vhosts[0]),
    configure({ folder, port, bind }) {
      const lines = ['loopback_users = none', 'log.file = false', 'log.console = true', 'disk_free_limit.absolute = 50MB']
      lines.push(`default_user = ${admin.name}`, `default_pass = ${admin.password}`)
      if (tls === undefined) lines.push(`listeners.tcp.default = ${bind}:${port}`)
      else {
        lines.push('listeners.tcp = none', `listeners.ssl.default = ${bind}:${port}`, 'ssl_options.verify = verify_peer')
        lines.push('ssl_options.fail_if_no_peer_cert = false', `ssl_options.cacertfile = ${tls.ca}`)
        lines.push(`ssl_options.certfile = ${tls.cert}`, `ssl_options.keyfile = ${tls.key}`)
      }
      writeFileSync(join(folder, 'rabbitmq.conf'), `${[...lines, ...settings].join('\n')}\n`, { mode: 0o600 })
      writeFileSync(join(folder, 'enabled_plugins'), `[${plugins.join(',')}].\n`)
      if (isFurnished) {
        const content = definitions(users.length > 0 ? users : [guest], ['/', ...vhosts])
        writeFileSync(join(folder, 'definitions.json'), JSON.stringify(content), { mode: 0o600 })
      }
      const cookie = join(folder, '.erlang.cookie')
      if (!existsSync(cookie)) writeFileSync(cookie, randomBytes(12).toString('hex').toUpperCase(), { mode: 0o400 })
    },
    companions(at) {
      const env = environment(found, at)
      return [
        {
          command: join(runtimeOf(found.erlang), 'epmd'),
          args: ['-port', String(at.extra[0]), '-address', '127.0.0.1'],
          env,
          cwd: at.folder,
        },
      ]
    },
    // The machine itself and not the server's script, which would stay between us and it: a signal reaches what it is meant for.
    command(at) {
      const machine = runtimeOf(found.erlang)
      const env = { ...environment(found, at), ROOTDIR: found.erlang, BINDIR: machine, EMU: 'beam', PROGNAME: 'erl' }
      const kernel = ['-kernel', 'inet_dist_use_interface', '{127,0,0,1}', '-kernel', 'prevent_overlapping_partitions', 'false']
      const quiet = ['-syslog', 'logger', '[]', '-syslog', 'syslog_error_logger', 'false']
      const args = ['-noinput', '-s', 'rabbit', 'boot', '-boot', 'start_sasl', '+W', 'w', '+S', '1:1', '+sbwt', 'none', ...kernel, ...quiet]
      return { command: join(machine, 'erlexec'), args, env, cwd: at.folder }
    },
    async ping({ port }) {
      await amqpHandshake(address(port, admin), { tls, timeoutMs: 5_000 })
    },
    furnish: (at) => furnish((args) => control(args, at), at),
    control,
    container: ({ folder }) => ({
      environment: {
        RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
        RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
      },
      files: [
        ...['rabbitmq.conf', 'enabled_plugins', 'definitions.json'].map((name) => join(folder, name)),
        ...(tls === undefined ? [] : [tls.ca, tls.cert, tls.key]),
      ],
    }),
    /** What is done through the container's own programs, given `exec`. */
    inContainer(exec) {
      const inside = (args) => exec(['rabbitmqctl', '-q', ...args])
      return {
        control: inside,
        furnish: (at) => furnish(inside, at),
        async wipe(at) {
          for (const step of ['stop_app', 'force_reset', 'start_app']) await inside([step])
          await furnish(inside, at)
        },
      }
    },
  }
}
