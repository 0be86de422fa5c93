package player

// Misindex has a moment expect another chain digest of each position.
func (p *Past) Misindex() {
	for i := range p.living {
		p.living[i].digest[0]++
	}
}

// Piecemeal has a restore take so many records of the index at a time.
func (ix *Index) Piecemeal(records int) { ix.piece = records }
