package redis

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"
	"strings"
)

// script is one of the server-side functions of a log, as one server gets it.
type script struct{ text, sha string }

type scripts struct{ fence, append, init script }

// shebang makes Redis refuse the whole script when memory is used up, instead
// of letting it go on writing.
const shebang = "#!lua\n"

func newScripts(emulated bool) scripts {
	make1 := func(parts ...string) script {
		text := shebang + strings.Join(parts, "")
		if emulated {
			text = strings.TrimPrefix(text, shebang)
		}
		sum := sha1.Sum([]byte(text))
		return script{text, hex.EncodeToString(sum[:])}
	}
	return scripts{
		fence:  make1(wholeCheck, identityCheck, fenceText),
		append: make1(wholeCheck, identityCheck, appendText),
		init:   make1(wholeCheck, initText),
	}
}

// All scripts answer one string: a word, and what belongs to it. They check
// everything, the types of keys included, before their first write, as Redis
// does not roll back.

// wholeCheck: the last of ARGV is the SHA-1 of the number of keys, the keys and the
// other arguments, separated by spaces. What they say is stored as it comes, and
// believed: TCP's own sum of 16 bits misses one damaged packet in 65,536.
const wholeCheck = `
if redis.sha1hex(#KEYS .. ' ' .. table.concat(KEYS, ' ') .. ' ' .. table.concat(ARGV, ' ', 1, #ARGV - 1)) ~= ARGV[#ARGV] then return 'GARBLED' end
`

// wholeSum is what wholeCheck wants of words that stand behind each other with a
// space between.
func wholeSum(b, words []byte) []byte {
	sum := sha1.Sum(words) //nolint:gosec // against accidents: who wants to harm the server can
	return hex.AppendEncode(b, sum[:])
}

// identityCheck: KEYS[1] tlog:id; ARGV[1] cookie, ARGV[2] config version.
const identityCheck = `
local id = redis.call('HMGET', KEYS[1], 'cookie', 'config')
if id[1] ~= ARGV[1] then return 'WRONGSTORE ' .. (id[1] or '') end
if not id[2] or id[2] > ARGV[2] then return 'OLDCONFIG ' .. (id[2] or '') end
local none = '00000000000000000000'
`

// fenceText: KEYS[2] ctl, KEYS[3] tlog:vdisks; ARGV[3] epoch, ARGV[4] owner,
// ARGV[5] vdisk. SADD comes first: it may still find a key of another type.
const fenceText = `
local c = redis.call('HMGET', KEYS[2], 'epoch', 'owner', 'head', 'commit')
local epoch, owner, head, commit = c[1] or none, c[2] or '', c[3] or none, c[4] or none
if epoch > ARGV[3] or (epoch == ARGV[3] and owner ~= ARGV[4]) then return 'FENCED ' .. epoch .. ' ' .. owner end
redis.call('SADD', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[2], 'epoch', ARGV[3], 'owner', ARGV[4], 'head', head, 'commit', commit)
return 'OK ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. head .. ' ' .. commit
`

// appendText: KEYS[2] ctl, KEYS[3] meta, KEYS[4] shard, KEYS[5] temporary;
// ARGV[3] epoch, ARGV[4] owner, ARGV[5] position, ARGV[6] index, ARGV[7] digest,
// ARGV[8] commit hint, ARGV[9] length of the data, ARGV[10] 1: replace.
//
// What is no meta is replaced by a repair, which knows what belongs there.
//
// The meta is written also when it is the same: the answer must wait for an
// fsync that covers it.
const appendText = `
local c = redis.call('HMGET', KEYS[2], 'epoch', 'owner', 'head', 'commit')
if c[1] ~= ARGV[3] or c[2] ~= ARGV[4] then return 'FENCED ' .. (c[1] or none) .. ' ' .. (c[2] or '') end
local meta = redis.call('GET', KEYS[3])
local index, take, size = ARGV[6], true, tonumber(ARGV[9])
if meta then
  if ARGV[10] == '1' and not (#meta == 89 and string.find(meta, '^%d+ %x+ %d+$')) then
    take = true
  elseif #meta ~= 89 then
    return 'DAMAGED ' .. meta
  elseif string.sub(meta, 22, 85) ~= ARGV[7] then
    if string.sub(meta, 1, 20) >= ARGV[3] then return 'CONFLICT ' .. meta end
  elseif ARGV[10] ~= '1' and redis.call('EXISTS', KEYS[4]) == 1 then
    index, take = string.sub(meta, 87, 89), false
  end
end
if take and (size == 0 or redis.call('STRLEN', KEYS[5]) ~= size) then return 'NODATA' end
local head, commit = c[3] or none, c[4] or none
if ARGV[5] > head then head = ARGV[5] end
if ARGV[8] > commit then commit = ARGV[8] end
if take then
  redis.call('RENAME', KEYS[5], KEYS[4])
  redis.call('PERSIST', KEYS[4])
elseif size > 0 then
  redis.call('DEL', KEYS[5])
end
meta = ARGV[3] .. ' ' .. ARGV[7] .. ' ' .. index
redis.call('SET', KEYS[3], meta)
redis.call('HSET', KEYS[2], 'head', head, 'commit', commit)
if index ~= ARGV[6] then return 'INDEX ' .. meta end
return 'OK ' .. meta
`

// initText: KEYS[1] tlog:id; ARGV[1] cookie, ARGV[2] config version, ARGV[3]
// manifest. A database counts as empty while it holds temporary keys only:
// those are what a writer that does not know yet leaves behind for a minute.
const initText = `
local id = redis.call('HMGET', KEYS[1], 'cookie', 'config', 'manifest')
if id[1] then
  if id[1] ~= ARGV[1] then return 'WRONGSTORE ' .. id[1] end
  if not id[2] or id[2] > ARGV[2] then return 'OLDCONFIG ' .. (id[2] or '') end
  if id[2] == ARGV[2] and id[3] ~= ARGV[3] then return 'CONFLICT ' .. id[2] end
else
  local size = redis.call('DBSIZE')
  if size > 1024 then return 'NOTEMPTY ' .. size end
  if size > 0 then
    for _, key in ipairs(redis.call('KEYS', '*')) do
      if not string.find(key, '^tlog:{[0-9a-f-]*}:t:') then return 'NOTEMPTY ' .. size end
    end
  end
end
redis.call('HSET', KEYS[1], 'cookie', ARGV[1], 'config', ARGV[2], 'manifest', ARGV[3])
return 'OK'
`
