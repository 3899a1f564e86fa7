import { describe, expect, it } from 'vitest'
import { shareOut } from '../src/sharing.ts'

const slotsOf = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => String(at))
const heldBy = (shares: ReadonlyMap<string, string>, member: string): number =>
  [...shares.values()].filter((each) => each === member).length

/** Every number of slots and members up to these, at every place of the circle. */
function* circles(): Generator<{ slots: readonly string[]; members: readonly string[]; shift: number }> {
  for (let slots = 1; slots <= 9; slots++)
    for (let members = 1; members <= 6; members++)
      for (let shift = 0; shift < members; shift++)
        yield { slots: slotsOf(slots), members: Array.from({ length: members }, (_, at) => `m${at}`), shift }
}

describe('shareOut', () => {
  it('gives every slot to a member, as many to each as to any other or one more', () => {
    for (const { slots, members, shift } of circles()) {
      const shares = shareOut(slots, members, new Map(), shift)
      expect([...shares.keys()].sort()).toEqual([...slots].sort())
      const counts = members.map((member) => heldBy(shares, member))
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    }
  })

  it('moves nothing where everybody holds a part', () => {
    for (const { slots, members, shift } of circles()) {
      // Held the other way round than they would be given out.
      const holders = shareOut(slots, members, new Map(), shift + members.length - 1)
      expect(shareOut(slots, members, holders, shift)).toEqual(holders)
    }
  })

  it('takes from nobody more than a member that joins gets', () => {
    for (const { slots, members, shift } of circles()) {
      const before = shareOut(slots, members, new Map(), shift)
      for (const joined of ['a', 'm0x', 'z']) {
        const after = shareOut(slots, [...members, joined], before, shift)
        const moved = slots.filter((slot) => before.get(slot) !== after.get(slot))
        expect(moved.every((slot) => after.get(slot) === joined)).toBe(true)
        expect(moved.length).toBeLessThanOrEqual(Math.floor(slots.length / (members.length + 1)))
      }
    }
  })

  it('gives away what a member leaves behind and nothing else', () => {
    for (const { slots, members, shift } of circles()) {
      if (members.length < 2) continue
      const before = shareOut(slots, members, new Map(), shift)
      for (const gone of members) {
        const left = members.filter((member) => member !== gone)
        const holders = new Map([...before].filter(([, member]) => member !== gone))
        const after = shareOut(slots, left, holders, shift)
        for (const slot of holders.keys()) expect(after.get(slot)).toBe(before.get(slot))
      }
    }
  })

  it('does not depend on the order in which members were seen', () => {
    const holders = new Map([['1', 'b']])
    const some = shareOut(slotsOf(5), ['a', 'b', 'c'], holders, 1)
    expect(shareOut(slotsOf(5), ['c', 'a', 'b'], holders, 1)).toEqual(some)
  })

  it('stays as it is while what is to be given back is given back one by one', () => {
    for (const { slots, members, shift } of circles()) {
      const [first = ''] = members
      const holders = new Map(slots.map((slot) => [slot, first]))
      const wanted = shareOut(slots, members, holders, shift)
      for (const slot of slots) {
        if (wanted.get(slot) === first) continue
        holders.delete(slot)
        expect(shareOut(slots, members, holders, shift)).toEqual(wanted)
        holders.set(slot, wanted.get(slot) ?? '')
        expect(shareOut(slots, members, holders, shift)).toEqual(wanted)
      }
    }
  })

  it('gives nothing to nobody', () => {
    expect(shareOut(slotsOf(3), [], new Map(), 0).size).toBe(0)
  })
})
