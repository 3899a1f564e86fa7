import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createBoundedQueue } from '../src/bounded-queue.ts'

describe('createBoundedQueue', () => {
  it('hands out what is there at once, in order, at most as many as asked for', async () => {
    const queue = createBoundedQueue<number>({ maxItems: 10 })
    queue.push([1, 2, 3])
    expect(await queue.pull(2)).toEqual([1, 2])
    expect(await queue.pull(2)).toEqual([3])
  })

  it('lets a reader wait for the next push, which may be larger than it asked for', async () => {
    const queue = createBoundedQueue<number>({ maxItems: 10 })
    const pulled = queue.pull(2)
    expect(queue.push([])).toBe(true)
    expect(queue.push([1, 2, 3])).toBe(true)
    expect(await pulled).toEqual([1, 2])
    expect(queue.size).toBe(1)
  })

  it('says stop at the bound, drops nothing beyond it, and says go on once at half of it', async () => {
    let room = 0
    const queue = createBoundedQueue<number>({ maxItems: 4, onRoom: () => (room += 1) })
    expect(queue.push([1, 2, 3])).toBe(true)
    expect(queue.push([4, 5, 6])).toBe(false)
    expect(queue.full).toBe(true)
    expect(await queue.pull(3)).toEqual([1, 2, 3])
    expect(room).toBe(0)
    expect(await queue.pull(1)).toEqual([4])
    expect([room, queue.full]).toEqual([1, false])
    expect(await queue.pull(9)).toEqual([5, 6])
    expect(room).toBe(1)
  })

  it('counts bytes where it is told to, and lets one giant through', async () => {
    let room = 0
    const queue = createBoundedQueue<string>({ maxItems: 100, maxBytes: 10, bytesOf: (item) => item.length, onRoom: () => (room += 1) })
    expect(queue.push(['1234'])).toBe(true)
    expect(queue.push(['x'.repeat(50)])).toBe(false)
    expect(queue.bytes).toBe(54)
    expect(await queue.pull(1)).toEqual(['1234'])
    expect(room).toBe(0)
    expect(await queue.pull(1)).toEqual(['x'.repeat(50)])
    expect([room, queue.bytes]).toEqual([1, 0])
  })

  it('may be pushed to from onRoom', async () => {
    const queue = createBoundedQueue<number>({ maxItems: 2, onRoom: () => queue.push([3, 4]) })
    queue.push([1, 2])
    expect(await queue.pull(5)).toEqual([1, 2])
    expect(await queue.pull(5)).toEqual([3, 4])
  })

  it('ends the open pull at close, returns what was left, and takes nothing in afterwards', async () => {
    const queue = createBoundedQueue<number>({ maxItems: 2 })
    const open = queue.pull(1)
    expect(queue.close()).toEqual([])
    expect(await open).toEqual([])
    const other = createBoundedQueue<number>({ maxItems: 2 })
    other.push([1, 2, 3])
    expect(other.close()).toEqual([1, 2, 3])
    expect(other.push([4])).toBe(false)
    expect(await other.pull(1)).toEqual([])
    expect(other.close()).toEqual([])
  })

  it('refuses a second open pull', async () => {
    const queue = createBoundedQueue<number>({ maxItems: 2 })
    const first = queue.pull(1)
    await expect(queue.pull(1)).rejects.toThrow('open already')
    queue.push([1])
    expect(await first).toEqual([1])
  })

  it('hands out every item once and in order under any batches', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 300 })), { maxLength: 60 }),
        async (steps) => {
          const queue = createBoundedQueue<number>({ maxItems: 50 })
          let next = 0
          const seen: number[] = []
          for (const [count, max] of steps) {
            queue.push(Array.from({ length: count }, () => next++))
            if (queue.size > 0) {
              const pulled = await queue.pull(max)
              expect(pulled.length).toBeGreaterThan(0)
              expect(pulled.length).toBeLessThanOrEqual(max)
              seen.push(...pulled)
            }
          }
          expect([...seen, ...queue.close()]).toEqual(Array.from({ length: next }, (_, i) => i))
        },
      ),
    )
  })
})
