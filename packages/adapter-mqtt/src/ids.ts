// Packet ids: this package's own and, above them, the client's.

/** Packet ids of what this package writes. */
export const mostIds = 60_000
export const lastId = 65_535

/** Packet ids for what the client itself sends: they never meet ours. */
export function ownIds(): { allocate(): number; getLastAllocated(): number; register(): boolean; deallocate(): void; clear(): void } {
  let last = mostIds
  return {
    allocate() {
      last = last >= lastId ? mostIds + 1 : last + 1
      return last
    },
    getLastAllocated: () => last,
    register: () => true,
    deallocate: () => {},
    clear: () => {},
  }
}
