package tlog

// Origin is the moment of another vdisk of the pool that a log was begun with:
// its genesis names it, for those who ask where the disk came from. The log
// itself holds all of its content. The zero Origin is none.
type Origin struct {
	Vdisk    UUID
	Position Position // that held the moment's last record
	Digest   Hash     // its chain digest
}

// IsZero reports whether o is none.
func (o Origin) IsZero() bool { return o == Origin{} }
