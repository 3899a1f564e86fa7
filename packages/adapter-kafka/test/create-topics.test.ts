import type { AdapterContext } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import type { Replies, Requests } from '../src/client.ts'
import type { Cluster } from '../src/cluster.ts'
import { createTopicMaker, type Wanted } from '../src/create-topics.ts'
import { codeOf } from '../src/explain.ts'

interface Asked {
  readonly names: readonly string[]
  answer(errors?: Readonly<Record<string, number>>): void
}

/** A cluster that makes what it is asked for when the test says so. */
function played() {
  const asked: Asked[] = []
  const request = (_api: 'CreateTopics', { topics }: Requests['CreateTopics']): Promise<Replies['CreateTopics']> =>
    new Promise((resolve) => {
      asked.push({
        names: topics.map(({ topic }) => topic),
        answer: (errors = {}) =>
          resolve({ topicErrors: topics.map(({ topic }) => ({ topic, errorCode: errors[topic] ?? 0, errorMessage: null })) }),
      })
    })
  const cluster = {
    settings: { requestTimeoutMs: 1000 },
    context: { clock: { monotonic: () => 0 } } as unknown as AdapterContext,
    controller: async () => ({ request }),
    lookAll: async (names: readonly string[]) => new Map(names.map((name) => [name, { leaders: [1], replicas: 1, id: name }])),
    pause: async () => {},
  } as unknown as Cluster
  return { asked, make: createTopicMaker(cluster) }
}

const topic = (name: string, partitions = 1): Wanted => ({ name, partitions, replicas: -1, config: {} })
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('what is wanted while a request is under way goes with the next one', async () => {
  const { asked, make } = played()
  const all = ['a', 'b', 'c'].map((name) => make([topic(name), topic(`${name}__dead`)]))
  await turn()
  asked[0]?.answer()
  await turn()
  asked[1]?.answer()
  expect((await Promise.all(all)).map((found) => [...found.keys()])).toEqual([
    ['a', 'a__dead'],
    ['b', 'b__dead'],
    ['c', 'c__dead'],
  ])
  expect(asked.map(({ names }) => names)).toEqual([
    ['a', 'a__dead'],
    ['b', 'b__dead', 'c', 'c__dead'],
  ])
})

it('what the server refuses is told to those who wanted it, and to nobody else', async () => {
  const { asked, make } = played()
  const first = make([topic('first')])
  const refused = make([topic('refused')])
  const fine = make([topic('fine')])
  await turn()
  asked[0]?.answer()
  await first
  await turn()
  asked[1]?.answer({ refused: 29 })
  expect(await refused.catch((error: unknown) => codeOf(error))).toBe(29)
  expect([...(await fine).keys()]).toEqual(['fine'])
})

it('a topic that two want at once is asked for once, and one that is there already is as good', async () => {
  const { asked, make } = played()
  const first = make([topic('first')])
  const twice = [make([topic('same')]), make([topic('same')])]
  await turn()
  asked[0]?.answer()
  await first
  await turn()
  expect(asked[1]?.names).toEqual(['same'])
  asked[1]?.answer({ same: 36 })
  expect((await Promise.all(twice)).length).toBe(2)
})

it('no request asks for more partitions than a server makes at once, unless one topic alone does', async () => {
  const { asked, make } = played()
  const all = [make([topic('first')]), make([topic('x', 1500)]), make([topic('y', 1500)]), make([topic('huge', 9000)])]
  for (let n = 0; n < 4; n++) {
    await turn()
    asked[n]?.answer()
  }
  await Promise.all(all)
  expect(asked.map(({ names }) => names)).toEqual([['first'], ['x'], ['y'], ['huge']])
})
