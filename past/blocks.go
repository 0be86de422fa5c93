package past

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"

	"tlog"
)

const (
	blockSize  = 4096 // unit of the map, bytes
	sectorSize = 512  // what a disk writes whole or not at all

	statesSize   = 508            // of a map sector, bytes
	sectorBlocks = statesSize * 4 // whose state a map sector has
)

// state is where the content of a block is.
type state uint8

const (
	stateBelow state = 0 // not in this image
	stateData  state = 1 // in this image, all of the block
	stateZero  state = 2 // nowhere: it reads as zeroes
)

// blockMap is the state of every block of a disk, in the sectors in which it is
// stored:
//
//	off size field
//	  0  508 states  2 bits for each of 2032 blocks, the first in the lowest bits
//	508    4 CRC-32C of the states, and of the number of the sector (8 bytes)
//
// A sector of zeroes is one that was never written: all of it is below. The
// map takes 64 MiB for each TiB of the disk that is written to, and nothing for
// the rest.
type blockMap struct {
	sectors map[int64]*[sectorSize]byte
	dirty   map[int64]bool // set since take
}

func newBlockMap() blockMap {
	return blockMap{sectors: map[int64]*[sectorSize]byte{}, dirty: map[int64]bool{}}
}

// blocksOf is how many blocks a disk has; the last may be short.
func blocksOf(size int64) int64 { return (size + blockSize - 1) / blockSize }

// mapSectors is how many sectors the map of a disk has.
func mapSectors(size int64) int64 { return (blocksOf(size) + sectorBlocks - 1) / sectorBlocks }

func (m *blockMap) get(block int64) state {
	s := m.sectors[block/sectorBlocks]
	if s == nil {
		return stateBelow
	}
	i := block % sectorBlocks
	return state(s[i/4] >> (i % 4 * 2) & 3)
}

// run is the state of block `at`, and where before end another begins.
func (m *blockMap) run(at, end int64) (state, int64) {
	first := m.get(at)
	for at < end {
		next := min(end, (at/sectorBlocks+1)*sectorBlocks)
		s := m.sectors[at/sectorBlocks]
		if s == nil && first != stateBelow {
			return first, at
		}
		if s != nil {
			if to := runIn(s, at%sectorBlocks, next-at/sectorBlocks*sectorBlocks, first); to < next-at/sectorBlocks*sectorBlocks {
				return first, at/sectorBlocks*sectorBlocks + to
			}
		}
		at = next
	}
	return first, end
}

// runIn is where the blocks of a sector from i on, before end, are not in state
// want any more.
func runIn(s *[sectorSize]byte, i, end int64, want state) int64 {
	four := byte(want) * 0b01010101
	for i < end {
		if i%4 == 0 && end-i >= 4 && s[i/4] == four {
			i += 4
			continue
		}
		if state(s[i/4]>>(i%4*2)&3) != want {
			return i
		}
		i++
	}
	return end
}

// set gives the blocks from…to a state.
func (m *blockMap) set(from, to int64, want state) {
	four := byte(want) * 0b01010101
	for from < to {
		number := from / sectorBlocks
		s := m.sectors[number]
		if s == nil {
			s = new([sectorSize]byte)
			m.sectors[number] = s
		}
		m.dirty[number] = true
		end := min(to, (number+1)*sectorBlocks)
		for ; from < end; from++ {
			i := from % sectorBlocks
			if i%4 == 0 && end-from >= 4 {
				s[i/4] = four
				from += 3
				continue
			}
			shift := i % 4 * 2
			s[i/4] = s[i/4]&^(3<<shift) | byte(want)<<shift
		}
	}
}

// mapSector is a sector as it is stored.
type mapSector struct {
	number int64
	bytes  [sectorSize]byte
}

// take returns the sectors that were set since the last take, in order.
func (m *blockMap) take() []mapSector {
	out := make([]mapSector, 0, len(m.dirty))
	for _, n := range slices.Sorted(maps.Keys(m.dirty)) {
		s := mapSector{number: n, bytes: *m.sectors[n]}
		binary.LittleEndian.PutUint32(s.bytes[statesSize:], s.sum())
		out = append(out, s)
	}
	clear(m.dirty)
	return out
}

// putBack makes sectors that were taken and not stored dirty again.
func (m *blockMap) putBack(sectors []mapSector) {
	for i := range sectors {
		m.dirty[sectors[i].number] = true
	}
}

func (s *mapSector) sum() uint32 {
	number := binary.LittleEndian.AppendUint64(nil, uint64(s.number))
	return crc32.Update(crc32.Checksum(s.bytes[:statesSize], castagnoli), castagnoli, number)
}

// load takes a stored sector.
func (m *blockMap) load(number int64, stored []byte) error {
	s := mapSector{number: number, bytes: [sectorSize]byte(stored)}
	if s.bytes == [sectorSize]byte{} {
		return nil
	}
	if binary.LittleEndian.Uint32(stored[statesSize:]) != s.sum() {
		return tlog.Corruptf("the map of bytes %d to %d of the disk has a wrong checksum", number*sectorBlocks*blockSize, (number+1)*sectorBlocks*blockSize)
	}
	for _, b := range s.bytes[:statesSize] {
		if b&(b>>1)&0b01010101 != 0 {
			return tlog.Corruptf("the map of bytes %d to %d of the disk has an unknown state", number*sectorBlocks*blockSize, (number+1)*sectorBlocks*blockSize)
		}
	}
	clear(s.bytes[statesSize:])
	m.sectors[number] = &s.bytes
	return nil
}
