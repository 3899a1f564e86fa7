// What several scripts begin with. The server's clock decides, and every step of an owner begins with the fence: a token that is
// not the partition's any more touches nothing and is told STALE.

export const clock: string = `local c=redis.call('TIME') local now=c[1]*1000+math.floor(c[2]/1000)`

// KEYS[2] own; ARGV[1] partition, ARGV[2] token.
export const fence: string = `${clock}
local row=redis.call('HGET',KEYS[2],ARGV[1])
local tok,til=string.match(row or '','^(.*)|(%d+)$')
if tok~=ARGV[2] or tonumber(til)<=now then return {'STALE'} end`

// pre: what the keys of the topic begin with. KEYS[1] is its meta hash.
export const prefix: string = `local pre=string.sub(KEYS[1],1,-5)`

// A topic takes messages if a group or somebody's broadcast gets them.
export const routed: string = `local function routed(meta,pre,now)
  for _,f in ipairs(redis.call('HKEYS',meta)) do if string.sub(f,1,6)=='group:' then return true end end
  for _,v in ipairs(redis.call('HVALS',pre..'cast')) do if tonumber(string.match(v,'^%d+'))>now then return true end end
  return false
end`

export const keep: string = `local function keep(pre,now,m)
  local kind,x=m[1]
  if kind=='m' then return redis.pcall('XADD',unpack(m,2)) end
  if kind=='x' or kind=='y' then
    local dead=pre..'dead:'..m[2]
    local slots=dead..':slots'
    if kind=='y' then x=m[4] else x=redis.pcall('XADD',dead,'*',unpack(m,4)) end
    if type(x)=='table' then return x end
    if m[3]~='' then
      local old=redis.call('HGET',slots,m[3])
      if old then redis.call('XDEL',dead,old) end
      redis.call('HSET',slots,m[3],x)
    end
    return x
  end
  local z=pre..'delay'
  if kind=='r' then z=pre..'retry:'..m[2] end
  x=redis.pcall('XADD',z..':entries','*',unpack(m,4))
  if type(x)=='table' then return x end
  redis.call('ZADD',z,now+tonumber(m[3]),x)
  redis.call('XADD',pre..'due','MAXLEN','1','*','at',now)
  return x
end`
