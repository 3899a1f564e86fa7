// HiveMQ's community edition, embedded in a program of a few lines: the second kind of MQTT server. Its jars come from Maven.

import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../lib/process.mjs'
import { onPath } from './apt.mjs'
import { mqttHello } from './mqtt-hello.mjs'

const version = '2025.5'
const artifact = 'hivemq-community-edition-embedded'
const program = fileURLToPath(new URL('./hivemq/Server.java', import.meta.url))

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>posthorn</groupId><artifactId>hivemq</artifactId><version>1</version>
<dependencies><dependency><groupId>com.hivemq</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency></dependencies>
</project>
`

/** How to find it; see find.mjs. */
export const hivemq = {
  name: 'hivemq',
  variable: 'POSTHORN_HIVEMQ',
  packages: [`com.hivemq:${artifact}:${version}`],
  image: `hivemq/hivemq-ce:${version}`,
  inFolder: (folder) => [join(folder, `${artifact}-${version}.jar`)],
  inSystem: () => [],
  async identify(file, folder) {
    const java = onPath('java')
    if (java === undefined) throw new Error('there is no Java')
    return { file, folder, java, version, title: `HiveMQ CE ${version}` }
  },
  obstacle() {
    const missing = ['java', 'mvn'].filter((name) => onPath(name) === undefined)
    return missing.length > 0 ? `its jars cannot be fetched and run without ${missing.join(' and ')}` : undefined
  },
  async unpack(folder) {
    const file = join(folder, 'pom.xml')
    writeFileSync(file, pom)
    const args = ['-q', '-B', '-f', file, 'dependency:copy-dependencies', `-DoutputDirectory=${folder}`]
    const { code, output } = await run('mvn', args, { cwd: folder, timeoutMs: 300_000 })
    if (code !== 0) throw new Error(`mvn failed:\n${output.trim().split('\n').slice(-12).join('\n')}`)
    copyFileSync(program, join(folder, 'Server.java'))
  },
  async external(url) {
    await mqttHello(url)
    return { version: 'unknown', title: 'MQTT server', profile: 'volatile' }
  },
}

const folders = ['conf', 'data', 'extensions']
const opened = ['java.base/java.nio', 'java.base/sun.nio.ch', 'java.base/java.lang', 'jdk.management/com.sun.management.internal']

/** One server of `found` with these options, for startInstance. */
export function hivemqServer(found, { profile = 'durable' } = {}) {
  const queue = profile === 'durable' ? 10_000_000 : 1000
  return {
    ...found,
    name: 'hivemq',
    profile: 'graceful',
    bootMs: 120_000,
    pollMs: 100,
    dataFolders: ['data'],
    url: (port) => `mqtt://127.0.0.1:${port}`,
    configure({ folder, port, bind }) {
      for (const name of folders) mkdirSync(join(folder, name), { recursive: true })
      const lines = [
        '<?xml version="1.0"?>',
        '<hivemq>',
        `<listeners><tcp-listener><port>${port}</port><bind-address>${bind}</bind-address></tcp-listener></listeners>`,
        `<mqtt><queued-messages><max-queue-size>${queue}</max-queue-size><strategy>discard</strategy></queued-messages></mqtt>`,
        '<anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>',
        '</hivemq>',
      ]
      writeFileSync(join(folder, 'conf', 'config.xml'), lines.join('\n'))
    },
    command({ folder }) {
      const jars = readdirSync(found.folder).filter((name) => name.endsWith('.jar'))
      const args = [
        '-Xmx512m',
        '-XX:+UseSerialGC',
        '-XX:TieredStopAtLevel=1',
        ...opened.flatMap((each) => ['--add-opens', `${each}=ALL-UNNAMED`]),
      ]
      const source = existsSync(program) ? program : join(found.folder, 'Server.java')
      return {
        command: found.java,
        args: [
          ...args,
          '-cp',
          jars.map((name) => join(found.folder, name)).join(':'),
          source,
          ...folders.map((name) => join(folder, name)),
        ],
        env: process.env,
        cwd: folder,
      }
    },
    container: ({ folder }) => ({ files: [join(folder, 'conf', 'config.xml')] }),
    ping: ({ port }) => mqttHello(`mqtt://127.0.0.1:${port}`, { timeoutMs: 2_000 }),
    async control() {
      throw new Error('HiveMQ takes no commands here')
    },
  }
}
