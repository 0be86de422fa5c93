// Package guest runs a Debian kernel in a virtual machine whose disk is
// somebody's NBD disk, and cuts its power.
//
// The machine boots from memory: Initramfs packs test/guest/init, a static
// program that is the guest's first and only process of ours, the file system
// and database tools of this host with their libraries, and the kernel modules
// that a virtio disk needs. What the guest prints comes as lines with the
// host's time. scripts/guest.sh puts the kernel into bin/guest.
//
// The machine is emulated (qemu's TCG), so that no host needs to allow
// virtualisation.
package guest
