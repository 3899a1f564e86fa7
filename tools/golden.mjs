// Writes a golden file of a server: ten messages as its plain client (the suite's auditor) writes them, and never our own code.
// `node --import tsx tools/golden.mjs redis` writes packages/adapter-redis/test/conformance/golden/<version>.json, to be formatted by
// Biome. Once a release is out its file is never written again.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, topic, unchecked } from '../packages/core/dist/index.js'

const [name] = process.argv.slice(2)
const root = new URL('../packages/', import.meta.url)
const { default: harness } = await import(new URL(`adapter-${name}/test/conformance/harness.ts`, root).href)
const { foreignShape, golden, shapes } = await import(new URL('conformance/dist/golden.js', root).href)
const { version } = JSON.parse(readFileSync(new URL(`adapter-${name}/package.json`, root), 'utf8'))

const server = await harness.broker(0)
await server.start()
const { name: named, dispose } = await harness.isolate('golden')
const auditor = await harness.auditor(server.address)
const broker = await connect(harness.adapter(server.address), { log: false })
const entries = []
try {
  for (const shape of shapes) {
    const keyed = shape.topic === 'keyed' ? { key: () => 'unused' } : {}
    const plain = topic(named(shape.name), { schema: unchecked(), groups: ['workers'], partitions: 1, ...keyed })
    await broker.declare(plain)
    await auditor.write(plain.name, foreignShape(shape))
    const [entry] = await auditor.readEntries(plain.name)
    entries.push(golden(shape.name, entry))
  }
} finally {
  await broker.close()
  await dispose()
  await auditor.close()
  await server.stop?.()
}
const folder = new URL(`adapter-${name}/test/conformance/golden/`, root)
mkdirSync(folder, { recursive: true })
writeFileSync(new URL(`${version}.json`, folder), `${JSON.stringify(entries, null, 2)}\n`)
console.log(`${entries.length} messages in packages/adapter-${name}/test/conformance/golden/${version}.json`)
process.exit(0)
