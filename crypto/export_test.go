package crypto

import (
	"io"

	"tlog"
)

// What tests need to make the same bytes each time.
var (
	NewDataKeyFrom  = newDataKey
	ParseKeyFile    = parseKeyFile
	FormatKeyFile   = formatKeyFile
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

// Derive gives the keys of a sealing one behind the other.
func Derive(key *DataKey, salt *[32]byte, vdisk tlog.UUID, pos tlog.Position) (secret, keys []byte) {
	k := newKeyed()
	k.derive(key, &[32]byte{1}, vdisk, 1) // leaves nothing behind
	k.forget()
	d := k.derive(key, salt, vdisk, pos)
	return key.secret[:], append(append(d.aes[:], d.mac[:]...), d.commitment[:]...)
}

// MAC is keyed.mac.
func MAC(key, message []byte) [32]byte {
	k := newKeyed()
	return k.mac(key, message)
}
