package player

// Misindex has a moment expect another chain digest of each position.
func (p *Past) Misindex() {
	for i := range p.living {
		p.living[i].digest[0]++
	}
}
