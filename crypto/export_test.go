package crypto

import "io"

// What tests need to make the same bytes each time.
var (
	NewDataKeyFrom  = newDataKey
	ParseKeyFile    = parseKeyFile
	FormatKeyFile   = formatKeyFile
	SizeClass       = sizeClass
	ParseHeader     = parseHeader
	KeyringFromSeed = newKeyring
)

// WrapFrom is NewDataKey with a random source of the test's.
func (k *Keyring) WrapFrom(vdisk [16]byte, random io.Reader) (*DataKey, []byte, error) {
	return k.newDataKey(vdisk, random)
}

// Join puts the keys of rings into one, in order.
func Join(rings ...*Keyring) *Keyring {
	r := &Keyring{}
	for _, o := range rings {
		r.keks = append(r.keks, o.keks...)
	}
	return r
}
