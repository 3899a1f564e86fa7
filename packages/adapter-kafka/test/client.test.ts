// What is used of the insides of kafkajs. Its version is fixed; should another one be taken, this tells what has to be looked at.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'

const require = createRequire(import.meta.url)
const inside = (path: string): unknown => require(`kafkajs/src/${path}`)

describe('the client behind its file', () => {
  it('is the version whose insides were read', () => {
    expect((require('kafkajs/package.json') as { readonly version: string }).version).toBe('2.2.4')
  })

  it('K20: has the requests that are asked, in the versions that are asked', () => {
    const { requests } = inside('protocol/requests/index.js') as {
      readonly requests: Readonly<Record<string, { readonly versions: readonly string[] }>>
    }
    const most = (api: string): number => Math.max(...(requests[api]?.versions ?? []).map(Number))
    expect({
      join: most('JoinGroup'),
      sync: most('SyncGroup') >= 2,
      commit: most('OffsetCommit'),

      init: most('InitProducerId'),
    }).toEqual({
      join: 5,
      sync: true,
      commit: 5,
      init: 1,
    })
  })

  it('has a connection with the parts that are used, and a queue whose timer is put to rest', () => {
    const Connection = inside('network/connection.js') as { readonly prototype: Readonly<Record<string, unknown>> }
    for (const name of ['connect', 'authenticate', 'setVersions', 'setSupportAuthenticationProtocol', 'send', 'rejectRequests'])
      expect(typeof Connection.prototype[name], name).toBe('function')
    const Queue = inside('network/requestQueue/index.js') as { readonly prototype: Readonly<Record<string, unknown>> }
    for (const name of ['scheduleCheckPendingRequests', 'maybeThrottle']) expect(typeof Queue.prototype[name], name).toBe('function')
  })

  it('is named in one file of ours', () => {
    for (const file of [
      'assignment',
      'cluster',
      'commits',
      'fetcher',
      'member',
      'offsets',
      'publish',
      'recovery',
      'session',
      'subscribe',
      'topology',
      'transactions',
    ])
      expect(readFileSync(new URL(`../src/${file}.ts`, import.meta.url), 'utf8')).not.toMatch(/from 'kafkajs|require\('kafkajs/)
  })
})
