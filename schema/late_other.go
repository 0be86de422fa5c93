//go:build !unix

package schema

const canReadLate = false

func readNow(uintptr, []byte) (n int, again bool, err error) {
	panic("internal error: schema: late read")
}
