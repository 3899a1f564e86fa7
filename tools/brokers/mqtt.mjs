// Mosquitto, the MQTT server that is nearest at hand.

import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../lib/process.mjs'
import { libraryPath, onPath } from './apt.mjs'
import { mqttHello } from './mqtt-hello.mjs'

const environment = (folder) => (folder === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraryPath(folder) })

/** How to find it; see find.mjs. */
export const mqtt = {
  name: 'mqtt',
  variable: 'POSTHORN_MQTT',
  packages: ['mosquitto'],
  image: 'eclipse-mosquitto:2.0.22',
  inFolder: (folder) => ['', 'sbin', 'usr/sbin'].map((sub) => join(folder, sub, 'mosquitto')),
  inSystem: () => [onPath('mosquitto')].filter((file) => file !== undefined),
  async identify(file, folder) {
    const { output } = await run(file, ['-h'], { env: environment(folder), cwd: '/', timeoutMs: 10_000 })
    const version = /^mosquitto version ([\d.]+)/m.exec(output)?.[1]
    if (version === undefined) throw new Error(output.trim().split('\n')[0] || 'it does not say its version')
    return { file, folder, version, title: `Mosquitto ${version}` }
  },
  async external(url) {
    await mqttHello(url)
    // MQTT has no way to ask a server what it keeps.
    return { version: 'unknown', title: 'MQTT server', profile: 'volatile' }
  },
}

const plugin = 'mosquitto_dynamic_security.so'

/** The server's own plugin for users and their rights, which may be changed while it runs. */
function pluginOf(found) {
  if (found.source === 'docker') return join('/usr/lib', plugin)
  const libraries = found.folder === undefined ? '/usr/lib:/usr/local/lib' : libraryPath(found.folder)
  const folders = libraries
    .split(':')
    .flatMap((base) => [base, ...(existsSync(base) ? readdirSync(base).map((name) => join(base, name)) : [])])
  const file = folders.map((folder) => join(folder, plugin)).find((path) => existsSync(path))
  if (file === undefined) throw new Error(`${found.title} has no ${plugin}, without which it has no users here`)
  return file
}

const kinds = ['publishClientSend', 'publishClientReceive', 'subscribePattern', 'unsubscribePattern']
const everything = kinds.map((acltype) => ({ acltype, topic: '#', priority: -1, allow: true }))
const administration = kinds.flatMap((acltype) => ['$CONTROL/#', '$SYS/#'].map((topic) => ({ acltype, topic, priority: -1, allow: true })))

/** Everybody has a role of the same name, which may do everything; an administrator may change it. */
function dynamicSecurity(users) {
  const clients = users.map(({ name, password }) => {
    const salt = randomBytes(12)
    const hash = pbkdf2Sync(password, salt, 101, 64, 'sha512').toString('base64')
    return { username: name, password: hash, salt: salt.toString('base64'), iterations: 101, roles: [{ rolename: name }] }
  })
  const roles = users.map(({ name, tags = [] }) => ({
    rolename: name,
    acls: tags.includes('administrator')
      ? [...everything, ...administration]
      : [...everything, ...administration.filter(({ topic }) => topic === '$SYS/#')],
  }))
  const defaultACLAccess = { publishClientSend: false, publishClientReceive: false, subscribe: false, unsubscribe: true }
  return { clients, groups: [], roles, defaultACLAccess }
}

/** As the distribution ships it, apart from the address: limits that drop, and half an hour between two savings. */
const stock = ['persistence true']
/**
 * Nothing is dropped for want of room, and what a kill loses is what came in the last second or two. Where the limit of queued messages is
 * 0, for none, Mosquitto 2.0.11 takes it for reached whenever it refuses a publish, and closes the connection.
 */
const generous = [
  'persistence true',
  'autosave_interval 1',
  'max_queued_messages 1000000000',
  'max_inflight_messages 0',
  'max_queued_bytes 0',
]

/** One server of `found` with these options, for startInstance. */
export function mqttServer(found, { profile = 'durable', settings = [], tls, users = [] } = {}) {
  // With users, the launcher has one of its own: theirs may be allowed little.
  const admin = users.length > 0 ? { name: 'posthorn-launcher', password: randomBytes(16).toString('hex') } : undefined
  const scheme = tls === undefined ? 'mqtt' : 'mqtts'
  const address = (port, user) => {
    const who = user === undefined ? '' : `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@`
    return `${scheme}://${who}127.0.0.1:${port}`
  }
  const file = (folder, name) => join(folder, name)
  return {
    ...found,
    name: 'mqtt',
    // It writes its store when it ends and now and then: there is no setting with which kill -9 loses nothing.
    profile: 'graceful',
    bootMs: 60_000,
    pollMs: 10,
    dataFolders: ['mosquitto.db', 'mosquitto.db.new'],
    url: (port) => address(port, users[0]),
    configure({ folder, port, bind }) {
      const lines = [`listener ${port} ${bind}`, `persistence_location ${folder}/`, 'log_dest stdout', 'set_tcp_nodelay true']
      if (process.getuid?.() === 0) lines.push('user root')
      if (tls !== undefined) lines.push(`cafile ${tls.ca}`, `certfile ${tls.cert}`, `keyfile ${tls.key}`)
      if (admin === undefined) lines.push('allow_anonymous true')
      else {
        const rights = file(folder, 'rights.json')
        // The server writes into it what is changed.
        if (!existsSync(rights))
          writeFileSync(rights, JSON.stringify(dynamicSecurity([{ ...admin, tags: ['administrator'] }, ...users])), { mode: 0o600 })
        lines.push('allow_anonymous false', `plugin ${pluginOf(found)}`, `plugin_opt_config_file ${rights}`)
      }
      lines.push(...(profile === 'durable' ? generous : stock), ...settings)
      writeFileSync(file(folder, 'mosquitto.conf'), `${lines.join('\n')}\n`, { mode: 0o600 })
    },
    command: ({ folder }) => ({
      command: found.file,
      args: ['-c', file(folder, 'mosquitto.conf')],
      env: environment(found.folder),
      cwd: folder,
    }),
    container: ({ folder }) => ({
      entrypoint: ['mosquitto', '-c', file(folder, 'mosquitto.conf')],
      files: ['mosquitto.conf', 'passwords', 'rights']
        .map((name) => file(folder, name))
        .concat(tls === undefined ? [] : [tls.ca, tls.cert, tls.key]),
    }),
    ping: ({ port }) => mqttHello(address(port, admin), { tls, timeoutMs: 2_000 }),
    async control() {
      throw new Error('Mosquitto takes no commands; its files and its log are in the folder of the instance')
    },
  }
}
