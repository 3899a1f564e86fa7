package main

import "encoding/binary"

// PartitionOf is Kafka's murmur2 of the key's UTF-8 bytes, without the sign, modulo the number of partitions.
func PartitionOf(key string, partitions int) int {
	return int(murmur2([]byte(key))&0x7fffffff) % partitions
}

func murmur2(data []byte) uint32 {
	const m = 0x5bd1e995
	value := uint32(0x9747b28c) ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data) * m
		value = value*m ^ (k^k>>24)*m
		data = data[4:]
	}
	if len(data) > 0 {
		for at, each := range data {
			value ^= uint32(each) << (8 * at)
		}
		value *= m
	}
	value = (value ^ value>>13) * m
	return value ^ value>>15
}
