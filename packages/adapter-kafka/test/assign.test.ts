import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { assignPartitions, readAssignment, writeMetadata } from '../src/assign.ts'

const { AssignerProtocol } = createRequire(import.meta.url)('kafkajs') as typeof import('kafkajs')

const member = (memberId: string, topics: readonly string[]) => ({ memberId, memberMetadata: writeMetadata(topics, memberId) })

describe('sharing partitions', () => {
  it('gives every partition to one member that asked for its topic, evenly', () => {
    const members = [member('b', ['t', 'r']), member('a', ['t', 'r']), member('c', ['t'])]
    const given = assignPartitions(
      members,
      new Map([
        ['t', 7],
        ['r', 3],
      ]),
    )
    const owned = new Map(given.map(({ memberId, memberAssignment }) => [memberId, readAssignment(memberAssignment)]))
    const all = [...owned.values()].flatMap((topics) => [...topics].flatMap(([topic, list]) => list.map((p) => `${topic}${p}`)))
    expect(all.sort()).toEqual(['r0', 'r1', 'r2', 't0', 't1', 't2', 't3', 't4', 't5', 't6'])
    expect(owned.get('c')?.has('r') ?? false).toBe(false)
    for (const topics of owned.values()) expect([2, 3]).toContain(topics.get('t')?.length)
  })

  it('is understood by kafkajs, and understands it', () => {
    const metadata = AssignerProtocol.MemberMetadata.decode(writeMetadata(['t'], 'me'))
    expect([metadata?.topics, String(metadata?.userData)]).toEqual([['t'], 'me'])
    const [ours] = assignPartitions([member('a', ['t'])], new Map([['t', 2]]))
    expect(AssignerProtocol.MemberAssignment.decode(ours?.memberAssignment as Buffer)?.assignment).toEqual({ t: [0, 1] })
    const theirs = AssignerProtocol.MemberAssignment.encode({ version: 0, assignment: { t: [3, 4] }, userData: Buffer.alloc(0) })
    expect(readAssignment(theirs).get('t')).toEqual([3, 4])
    const theirMember = AssignerProtocol.MemberMetadata.encode({ version: 0, topics: ['t'], userData: Buffer.alloc(0) })
    const [mixed] = assignPartitions([{ memberId: 'k', memberMetadata: theirMember }], new Map([['t', 1]]))
    expect(readAssignment(mixed?.memberAssignment as Buffer).get('t')).toEqual([0])
  })
})
