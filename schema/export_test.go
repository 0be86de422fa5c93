package schema

// CanonicalBatch reports whether frame is in the canonical layout.
func CanonicalBatch(frame []byte) bool { return canonicalBatch(frame, &Batch{}) }

// PlainBlock reports whether frame is a block in the usual layout.
func PlainBlock(frame []byte) bool { return plainBlock(frame, &Block{}) }

// Sizes of a Reader's buffer.
const (
	MinWindow  = minWindow
	MaxWindow  = maxWindow
	LargeFrame = largeFrame
)
