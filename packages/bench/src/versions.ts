import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { dirname, join } from 'node:path'

/** The version of a package that this one depends on. */
export function versionOf(name: string): string {
  // Not every package lets its package.json be imported, so it is looked for beside what can be.
  let folder = dirname(createRequire(import.meta.url).resolve(name))
  for (;;) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { readonly name?: string; readonly version?: string }
      if (found.name === name) return found.version ?? 'unknown'
    } catch {
      // Not in this folder.
    }
    const above = dirname(folder)
    if (above === folder) return 'unknown'
    folder = above
  }
}

/** What the figures depend on beside the broker. */
export function versions(): Readonly<Record<string, string>> {
  return {
    '@posthorn/core': versionOf('@posthorn/core'),
    node: process.versions.node,
    v8: process.versions.v8,
    machine: `${availableParallelism()} x ${cpus()[0]?.model ?? process.arch}, load ${loadavg()[0]?.toFixed(1) ?? '?'}`,
  }
}
