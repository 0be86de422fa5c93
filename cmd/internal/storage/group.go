package storage

import (
	"context"
	"fmt"

	"tlog"
	"tlog/group"
	"tlog/player"
)

// Members opens the logs of a consistency group's disks: those that are named,
// or, if none is, those whose last record is of the group.
func (o *Opened) Members(ctx context.Context, name string, vdisks []string) ([]*player.Log, error) {
	var logs []*player.Log
	for _, v := range vdisks {
		l, err := player.Open(ctx, o.Pool, o.Keys, tlog.VdiskID(v), player.Config{})
		if err != nil {
			return nil, err
		}
		logs = append(logs, l)
	}
	if len(logs) > 0 {
		return logs, nil
	}
	ids, err := o.Pool.Vdisks(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		l, err := player.OpenUUID(ctx, o.Pool, o.Keys, id, player.Config{})
		var stamp group.Stamp
		if err == nil {
			stamp, err = l.LastStamp(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("vdisk %v: cannot tell whether it is in group %s: %w: name the disks of the group", id, name, err)
		}
		if stamp.Of(name) {
			logs = append(logs, l)
		}
	}
	if len(logs) == 0 {
		return nil, fmt.Errorf("no vdisk of the pool is in group %s by its last record: name the disks, if they were", name)
	}
	return logs, nil
}
