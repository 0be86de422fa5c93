package reuse

// Objects recycles values of one type. New makes one when none is left; it is
// set before the first Get.
type Objects[T any] struct {
	New func() *T

	shelf shelf[T]
}

// Get gives an object to the caller.
func (o *Objects[T]) Get() *T {
	if v := o.shelf.take(); v != nil {
		return v
	}
	return o.New()
}

// Put takes v back. It refers to nothing any more that the caller does not want
// to keep alive.
func (o *Objects[T]) Put(v *T) { o.shelf.put(v, nil) }
