package player

import "context"

// Misindex has a moment expect another chain digest of each position.
func (p *Past) Misindex() {
	for i := range p.living {
		p.living[i].digest[0]++
	}
}

// Piecemeal has a restore take so many records of the index at a time.
func (ix *Index) Piecemeal(records int) { ix.piece = records }

// PeekAll reads the records by themselves of all positions of which that can be
// done. It tells whether all were read, and the memory can be used again.
func (p *Past) PeekAll(ctx context.Context) (read, kept bool) {
	var list []picked
	for at := range p.living {
		if p.sparse(at) {
			list = append(list, picked{at: &p.living[at], records: p.recordsOf(at)})
		}
	}
	memory := p.log.peek(ctx, list, nil)
	read = len(list) > 0
	for i := range list {
		read = read && list[i].err == nil
	}
	return read, memory != nil
}

// Pause is how much is written between a save and the next.
var Pause = pause
