import { existsSync, readdirSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

// Tests import packages by name; the condition points those names at `src`, so nothing is built first.
const resolve = { conditions: ['@posthorn/source'] }
const ssr = { resolve: { conditions: ['@posthorn/source'], externalConditions: ['@posthorn/source'] } }

/** Every package and example that has tests is a project with the name of its folder. */
const folders = ['packages', 'examples'].flatMap((parent) => readdirSync(parent).map((name) => ({ name, root: `${parent}/${name}` })))
const projects = folders
  .filter(({ root }) => existsSync(`${root}/tsconfig.test.json`))
  .map(({ name, root }) => ({
    resolve,
    ssr,
    test: {
      name,
      root,
      include: ['test/**/*.test.ts'],
      retry: 0,
      typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: './tsconfig.test.json' },
    },
  }))

export default defineConfig({ test: { projects } })
