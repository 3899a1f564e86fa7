// Who should have which slots of a group: the same answer for everybody who sees the same members and the same holders. Whoever
// holds one keeps it unless it has more than its part, so that a member that comes or goes moves no more than it must; what nobody
// holds goes round the sorted names.

/** Slots in their order, names of members, and the members that hold slots now. Answers a member for each slot, or nothing where nobody is there. */
export function shareOut(
  slots: readonly string[],
  members: readonly string[],
  holders: ReadonlyMap<string, string>,
  shift: number,
): ReadonlyMap<string, string> {
  const shares = new Map<string, string>()
  if (members.length === 0) return shares
  const sorted = [...members].sort()
  const turn = (at: number): string => sorted[(shift + at) % sorted.length] as string
  const order = sorted.map((_, at) => turn(at))
  const held = new Map<string, string[]>(order.map((member) => [member, []]))
  for (const slot of slots) held.get(holders.get(slot) ?? '')?.push(slot)

  // Where the parts are not all equal, the larger ones stay where much is held.
  const part = Math.floor(slots.length / order.length)
  const isOver = (member: string): boolean => (held.get(member)?.length ?? 0) > part
  const larger = new Set([...order.filter(isOver), ...order.filter((member) => !isOver(member))].slice(0, slots.length % order.length))
  const room = new Map(order.map((member) => [member, part + (larger.has(member) ? 1 : 0)]))
  const give = (slot: string, member: string): void => {
    const left = room.get(member) ?? 0
    if (left === 0 || shares.has(slot)) return
    room.set(member, left - 1)
    shares.set(slot, member)
  }

  // First what would be the holder's turn anyway: it is what a member that comes back, or another one that goes, moves least.
  const inTurn = (slot: string, member: string): boolean => turn(slots.indexOf(slot)) === member
  for (const [member, its] of held) for (const slot of its.filter((each) => inTurn(each, member))) give(slot, member)
  for (const [member, its] of held) for (const slot of its) give(slot, member)
  for (const [at, slot] of slots.entries()) give(slot, turn(at))
  for (const slot of slots) for (const member of order) give(slot, member)
  return shares
}
