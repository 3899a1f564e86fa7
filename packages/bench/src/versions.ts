import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'

/** What the figures depend on beside the broker. */
export function versions(): Readonly<Record<string, string>> {
  const core = import.meta.resolve('@posthorn/core/package.json')
  const { version } = JSON.parse(readFileSync(new URL(core), 'utf8')) as { readonly version: string }
  return {
    '@posthorn/core': version,
    node: process.versions.node,
    v8: process.versions.v8,
    machine: `${availableParallelism()} x ${cpus()[0]?.model ?? process.arch}, load ${loadavg()[0]?.toFixed(1) ?? '?'}`,
  }
}
