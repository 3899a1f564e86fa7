// The step that snappy and lz4 share: bytes that came before are repeated.

/** Below so many bytes a loop is faster than a call. */
const few = 24

/** Writes `length` bytes at `at` that lie `distance` before it. They may overlap: what was just written is then repeated. */
export function copyBack(plain: Buffer, at: number, distance: number, length: number): void {
  const from = at - distance
  if (length >= few && distance >= length) plain.copyWithin(at, from, from + length)
  else if (length >= few && distance === 1) plain.fill(plain[from] as number, at, at + length)
  else for (let done = 0; done < length; done++) plain[at + done] = plain[from + done] as number
}

/** Writes the `length` bytes of `bytes` from `from` on at `at`. */
export function copyOver(bytes: Buffer, from: number, length: number, plain: Buffer, at: number): void {
  if (length >= few) bytes.copy(plain, at, from, from + length)
  else for (let done = 0; done < length; done++) plain[at + done] = bytes[from + done] as number
}
