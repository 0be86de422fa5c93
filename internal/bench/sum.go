package bench

// Costs are seconds of processor time for a GB of payload, by stage; "store"
// is the bare store's, on both of its sides.
type Costs map[string]float64

// pathStages are the stages of the path from client to store; the record hash
// besides, once at each end.
var pathStages = []string{"encode", "tcp", "decode", "s2", "gcm", "erasure", "digests"}

// pathSum is S of the path: the stages it cannot do without, each alone.
func pathSum(c Costs, hash string) float64 {
	sum := 2 * c["hash-"+hash]
	for _, name := range pathStages {
		sum += c[name]
	}
	return sum + c["store"]
}

// restoreSum is S of a restore: each record's hash once, the digests of the data
// shards only, decryption (as much as encryption), the bare read and the bare
// write of the image; with shards lost, their reconstruction. Data that
// compressed is not part of it.
func restoreSum(c Costs, hash string, lost bool) float64 {
	sum := c["hash-"+hash] + c["digests"]*dataShards/shards + c["gcm"] + c["store"] + c["image"]
	if lost {
		sum += c["reconstruct"]
	}
	return sum
}
