import { defineConfig } from 'vitest/config'

// Tests import packages by name; the condition points those names at `src`, so nothing is built first.
const resolve = { conditions: ['@posthorn/source'] }
const ssr = { resolve: { conditions: ['@posthorn/source'], externalConditions: ['@posthorn/source'] } }
const project = (name: string, root: string) => ({
  resolve,
  ssr,
  test: {
    name,
    root,
    include: ['test/**/*.test.ts'],
    retry: 0,
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: './tsconfig.test.json' },
  },
})

export default defineConfig({
  test: {
    projects: [
      project('core', 'packages/core'),
      project('conformance', 'packages/conformance'),
      project('order-notification', 'examples/order-notification'),
      project('custom-adapter', 'examples/custom-adapter'),
    ],
  },
})
