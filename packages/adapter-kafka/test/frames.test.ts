import { expect, it } from 'vitest'
import { watchFrames } from '../src/frames.ts'

function frame(length: number): Buffer {
  const bytes = Buffer.alloc(4 + length)
  bytes.writeInt32BE(length)
  return bytes
}

it('follows frames however they are cut, and refuses a length that is damaged', () => {
  const all = Buffer.concat([frame(4), frame(300), frame(70_000), frame(8)])
  for (const size of [1, 3, 4, 5, 1000, all.length]) {
    const refused: number[] = []
    const watch = watchFrames((length) => void refused.push(length))
    for (let at = 0; at < all.length; at += size) watch(all.subarray(at, at + size))
    expect(refused).toEqual([])
    const damaged = frame(64).map((byte, at) => (at < 4 ? byte ^ 0x55 : byte))
    watch(damaged)
    watch(damaged)
    expect(refused).toEqual([0x55555515])
  }
})
