// A planted bug that finds no place, or whose clause is gone, tests nothing: that shows here in a moment, before the mutants run.
import { readFileSync } from 'node:fs'
import { allClauses } from '@posthorn/conformance'
import { expect, it } from 'vitest'
import { allMutants, needServers, serverMutants } from '../src/mutants/index.ts'
import { isServer } from '../src/mutants/live-tests.ts'

const places = {
  core: '../../core/src',
  memory: '../../core/src/memory',
  suite: '../src',
  cli: '../../cli/src',
  redis: '../../adapter-redis/src',
  rabbitmq: '../../adapter-rabbitmq/src',
  kafka: '../../adapter-kafka/src',
  mqtt: '../../adapter-mqtt/src',
} as const
const planted = [...allMutants, ...serverMutants]
const read = (where: keyof typeof places, file: string): string =>
  readFileSync(new URL(`${places[where]}/${file}`, import.meta.url), 'utf8')

it('finds the place of each edit exactly once', () => {
  const wrong = planted.flatMap((mutant) =>
    [mutant, ...(mutant.also ?? [])].flatMap(({ where = mutant.where, file, find }) => {
      const found = read(where, file).split(find).length - 1
      return found === 1 ? [] : [`${mutant.id}: ${found} times in ${file}: ${find}`]
    }),
  )
  expect(wrong).toEqual([])
})

it('plants each bug under one id, and in at most 20 lines', () => {
  const ids = [...allMutants, ...needServers].map(({ id }) => id)
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([])
  const lines = (text: string): number => text.split('\n').length
  const long = planted.filter((mutant) => [mutant, ...(mutant.also ?? [])].reduce((sum, { replace }) => sum + lines(replace), 0) > 20)
  expect(long.map(({ id }) => id)).toEqual([])
})

it('names only clauses that exist for what runs here', () => {
  const known = new Set(allClauses.map(({ id }) => id))
  expect(
    planted.flatMap(({ id, killedBy }) => killedBy.filter((clause) => !known.has(clause)).map((clause) => `${id}: ${clause}`)),
  ).toEqual([])
})

it('plants in an adapter only what is listed as needing a server, once for each', () => {
  const known = new Set(needServers.map(({ id }) => id))
  expect(serverMutants.filter(({ id }) => !known.has(id))).toEqual([])
  const names = serverMutants.map(({ id, where }) => `${id} ${where}`)
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
})

it('plants in the adapters all that makes sense there', () => {
  const wanted = needServers.flatMap(({ id, on }) => on.map((where) => `${id} ${where}`))
  expect(serverMutants.map(({ id, where }) => `${id} ${where}`).sort()).toEqual(wanted.sort())
})

it('names for each bug what notices it: clauses, or a test of the adapter that is there', () => {
  const wrong = planted.flatMap(({ id, where, killedBy, killedByTest }) => {
    if ((killedByTest === undefined) === (killedBy.length === 0)) return [`${id} ${where}: neither, or both`]
    if (killedByTest === undefined) return []
    if (!isServer(where)) return [`${id}: a test is not run for a bug of ${where}`]
    const { file, name } = killedByTest
    const text = readFileSync(new URL(`${places[where]}/../${file}`, import.meta.url), 'utf8')
    const titles = text.split('\n').filter((line) => /^\s*it\(/.test(line) && new RegExp(`\\b${name}\\b`).test(line))
    return titles.length > 0 ? [] : [`${id} ${where}: no test of ${file} is named ${name}`]
  })
  expect(wrong).toEqual([])
})
