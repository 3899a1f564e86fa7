// Answers are frames with their length before them. A length that is damaged would have the client collect for ever what comes behind
// it, every byte of which looks like a sign of life.

const mostBytes = 256 * 1024 * 1024

/** Follows what arrives. `refuse` is called with a length that no answer has; nothing is looked at after it. */
export function watchFrames(refuse: (length: number) => void): (chunk: Uint8Array) => void {
  const head = Buffer.alloc(4)
  let known = 0
  let left = 0
  let refused = false
  return (chunk) => {
    for (let at = 0; at < chunk.length && !refused; ) {
      if (left > 0) {
        const step = Math.min(left, chunk.length - at)
        left -= step
        at += step
        continue
      }
      head[known++] = chunk[at++] as number
      if (known < 4) continue
      known = 0
      left = head.readInt32BE(0)
      // Before anything else comes the number of the request.
      if (left >= 4 && left <= mostBytes) continue
      refused = true
      refuse(left)
    }
  }
}
