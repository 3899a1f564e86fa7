// Everything that must be one step at the server. The server's clock decides, and every step of an owner begins with the
// fence: a token that is not the partition's any more touches nothing and is told STALE.

import { createHash } from 'node:crypto'

/** One script as it is sent: by its hash, and by its text once where the server has forgotten it. */
export interface Script {
  readonly name: string
  readonly sha: string
  readonly source: string
}

const clock = `local c=redis.call('TIME') local now=c[1]*1000+math.floor(c[2]/1000)`

// KEYS[2] own; ARGV[1] partition, ARGV[2] token.
const fence = `${clock}
local row=redis.call('HGET',KEYS[2],ARGV[1])
local tok,til=string.match(row or '','^(.*)|(%d+)$')
if tok~=ARGV[2] or tonumber(til)<=now then return {'STALE'} end`

// pre: what the keys of the topic begin with. KEYS[1] is its meta hash.
const prefix = `local pre=string.sub(KEYS[1],1,-5)`

// A topic takes messages if a group or somebody's broadcast gets them.
const routed = `local function routed(meta,pre,now)
  for _,f in ipairs(redis.call('HKEYS',meta)) do if string.sub(f,1,6)=='group:' then return true end end
  for _,v in ipairs(redis.call('HVALS',pre..'cast')) do if tonumber(string.match(v,'^%d+'))>now then return true end end
  return false
end`

const checked = `local have=redis.call('HGET',KEYS[1],'partitions')
if not have or not routed(KEYS[1],pre,now) then return {'NOGROUP'} end
if ARGV[1]~='' and have~=ARGV[1] then return {'CONFLICT',have} end`

// ARGV: partitions, packed list of XADD arguments.
const publish = `${clock}
${prefix}
${routed}
${checked}
local m=cmsgpack.unpack(ARGV[2])
local r,bad={},{'OK',''}
for i=1,#m do
  local x=redis.pcall('XADD',unpack(m[i]))
  if type(x)=='table' then r[i]='' bad[#bad+1]=i-1 bad[#bad+1]=x.err else r[i]=x end
end
bad[2]=table.concat(r,',')
return bad`

const keep = `local function keep(pre,now,m)
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

// The same for what is delayed, parked or dead; y is a dead letter that lies there already and has more fields than Lua can pass on. ARGV: partitions, packed list of {kind, group or '', delay or slot, fields…}.
const store = `${clock}
${prefix}
${routed}
${keep}
local m=cmsgpack.unpack(ARGV[2])
local have=redis.call('HGET',KEYS[1],'partitions')
local ready=have and routed(KEYS[1],pre,now)
local r,bad={},{'OK',''}
for i=1,#m do
  local kind,x=m[i][1]
  if kind=='r' or kind=='x' or kind=='y' then
    if not redis.call('HGET',KEYS[1],'group:'..m[i][2]) then x={err='NOGROUP'} end
  elseif not ready then x={err='NOGROUP'}
  elseif ARGV[1]~='' and have~=ARGV[1] then x={err='CONFLICT '..have} end
  if not x then x=keep(pre,now,m[i]) end
  if type(x)=='table' then r[i]='' bad[#bad+1]=i-1 bad[#bad+1]=x.err else r[i]=x end
end
bad[2]=table.concat(r,',')
return bad`

// ARGV: partitions wanted or '', their default, 1 to create, trim or '', retention or '', then group and start of each.
const declare = `${prefix}
local meta,create=KEYS[1],ARGV[3]=='1'
local have=redis.call('HGET',meta,'partitions')
if not have and not create then return {'NOTOPIC'} end
if have and ARGV[1]~='' and have~=ARGV[1] then return {'CONFLICT',have} end
for i=6,#ARGV,2 do
  if not create and not redis.call('HGET',meta,'group:'..ARGV[i]) then return {'MISSING',ARGV[i]} end
end
local made,again={},{}
if create then
  if not have then
    have=ARGV[1]~='' and ARGV[1] or ARGV[2]
    redis.call('HSETNX',meta,'partitions',have)
  end
  if ARGV[4]~='' then redis.call('HSET',meta,'trim',ARGV[4]) end
  if ARGV[5]~='' then redis.call('HSET',meta,'retentionMs',ARGV[5]) end
  for i=6,#ARGV,2 do
    local g=ARGV[i]
    local known=redis.call('HGET',meta,'group:'..g)
    local from=(known or ARGV[i+1]~='latest') and '0' or '$'
    local missing=0
    for p=0,tonumber(have)-1 do
      local x
      if from=='0' then
        -- What was trimmed before there was this group is nothing that it lost.
        local gone,info=0,redis.pcall('XINFO','STREAM',pre..p)
        if not info.err then
          local s={}
          for k=1,#info,2 do s[info[k]]=info[k+1] end
          gone=(s['entries-added'] or 0)-(s.length or 0)
        end
        x=redis.pcall('XGROUP','CREATE',pre..p,g,from,'MKSTREAM','ENTRIESREAD',gone)
      else x=redis.pcall('XGROUP','CREATE',pre..p,g,from,'MKSTREAM') end
      if not x.err then missing=missing+1
      elseif not string.find(x.err,'BUSYGROUP') then return redis.error_reply(x.err) end
    end
    if not known then
      redis.call('HSET',meta,'group:'..g,'1')
      made[#made+1]=g
    elseif missing>0 then again[#again+1]=g end
  end
end
local all={}
for _,f in ipairs(redis.call('HKEYS',meta)) do if string.sub(f,1,6)=='group:' then all[#all+1]=string.sub(f,7) end end
table.sort(all)
return {'OK',have,all,made,again}`

// KEYS: mem, own, bell. ARGV: me, lease ms, partitions, 1 while leaving and 2 to renew only, then partition and token of each that I hold.
const step = `${clock}
local mem,own,bell=KEYS[1],KEYS[2],KEYS[3]
local me,ttl,count,leaving=ARGV[1],tonumber(ARGV[2]),tonumber(ARGV[3]),ARGV[4]=='1'
local held={}
for i=5,#ARGV,2 do held[ARGV[i]]=ARGV[i+1] end
local pre,group=string.match(mem,'^(.*:)mem:(.*)$')
if not leaving and redis.call('HEXISTS',pre..'meta','group:'..group)==0 then return {'NOGROUP',0} end
redis.call('ZREMRANGEBYSCORE',mem,'-inf',now)
local news
if leaving then news=redis.call('ZREM',mem,me)==1
else
  news=not redis.call('ZSCORE',mem,me)
  redis.call('ZADD',mem,now+ttl,me)
end
if news then redis.call('XADD',bell,'MAXLEN','1','*','member',me) end
local all=redis.call('ZRANGE',mem,0,-1)
table.sort(all)
-- Tokens of an earlier life of these keys must never come again.
if redis.call('HEXISTS',own,'epoch')==0 then redis.call('HSET',own,'epoch',now) end
local rank
for i=1,#all do if all[i]==me then rank=i-1 end end
local rows={}
local flat=redis.call('HGETALL',own)
for i=1,#flat,2 do rows[flat[i]]=flat[i+1] end
local soon,out=ttl,{'OK',0}
for p=0,count-1 do
  local k=tostring(p)
  local tok,til=string.match(rows[k] or '','^(.*)|(%d+)$')
  til=tonumber(til or '0')
  local want=rank and p%#all==rank
  local mine=tok and string.sub(tok,1,#me+1)==me..'/'
  if til>now and mine and held[k]==tok then
    redis.call('HSET',own,k,tok..'|'..(now+ttl))
    out[#out+1]=k out[#out+1]=tok out[#out+1]=want and 1 or 0
  elseif want and ARGV[4]~='2' and (til<=now or mine) then
    tok=me..'/'..redis.call('HINCRBY',own,'epoch',1)
    redis.call('HSET',own,k,tok..'|'..(now+ttl))
    out[#out+1]=k out[#out+1]=tok out[#out+1]=1
  elseif want and til-now<soon then soon=til-now end
end
out[2]=soon
return out`

// KEYS: stream, own. ARGV: partition, token, group, first id or '>', count, count of one chunk, bytes.
const read = `${fence}
-- How many entries were cut off before this group was given them. The count of what it was given is set right, so that it is told once.
local function missed()
  local info=redis.pcall('XINFO','STREAM',KEYS[1])
  local groups=redis.pcall('XINFO','GROUPS',KEYS[1])
  if info.err or groups.err then return 0 end
  local s={}
  for i=1,#info,2 do s[info[i]]=info[i+1] end
  for _,row in ipairs(groups) do
    local g={}
    for i=1,#row,2 do g[row[i]]=row[i+1] end
    if g.name==ARGV[3] and s['entries-added'] and g['entries-read'] then
      local lost=s['entries-added']-s.length-g['entries-read']
      if lost<=0 then return 0 end
      local set=redis.pcall('XGROUP','SETID',KEYS[1],ARGV[3],g['last-delivered-id'],'ENTRIESREAD',s['entries-added']-s.length)
      return set.err and 0 or lost
    end
  end
  return 0
end
local from,left,chunk,room=ARGV[4],tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])
local out={'OK',''}
if from=='0-0' then out[2]=missed()..';' end
while left>0 do
  local n=math.min(chunk,left)
  local r=redis.pcall('XREADGROUP','GROUP',ARGV[3],'owner','COUNT',n,'STREAMS',KEYS[1],from)
  if not r then break end
  if r.err then
    if string.find(r.err,'NOGROUP') then return {'NOGROUP'} end
    return redis.error_reply(r.err)
  end
  local e=r[1][2]
  if #e==0 then break end
  local s=cmsgpack.pack(e)
  out[#out+1]=s
  if from~='>' then
    local rows=redis.pcall('XPENDING',KEYS[1],ARGV[3],e[1][1],e[#e][1],#e)
    local times={}
    if not rows.err then for i=1,#rows do times[i]=tostring(rows[i][4]) end end
    out[2]=out[2]..table.concat(times,',')
    break
  end
  left=left-#e
  room=room-#s
  if #e<n or room<=0 then break end
end
if #out==2 and from=='>' then
  local top=redis.call('XREVRANGE',KEYS[1],'+','-','COUNT',1)
  out[2]=top[1] and top[1][1] or '0-0'
end
return out`

// What is pending after an id, without raising its count: after a lost reply. KEYS: stream, own. ARGV: partition, token, group, after, count.
const again = `${fence}
local rows=redis.pcall('XPENDING',KEYS[1],ARGV[3],'('..ARGV[4],'+',ARGV[5])
if rows.err then
  if string.find(rows.err,'NOGROUP') then return {'NOGROUP'} end
  return redis.error_reply(rows.err)
end
local e,times={},{}
for i=1,#rows do
  local found=redis.call('XRANGE',KEYS[1],rows[i][1],rows[i][1])
  e[i]=found[1] or {rows[i][1],false}
  times[i]=tostring(rows[i][4])
end
if #e==0 then return {'OK',''} end
return {'OK',table.concat(times,','),cmsgpack.pack(e)}`

// KEYS: stream, own. ARGV: partition, token, group, ids.
const settle = `${fence}
redis.call('XACK',KEYS[1],ARGV[3],unpack(ARGV,4))
return {'OK'}`

// KEYS: retry, own. ARGV: 0, token, ids.
const settleRetry = `${fence}
local z=KEYS[1]
redis.call('ZREM',z,unpack(ARGV,3))
redis.call('XDEL',z..':entries',unpack(ARGV,3))
redis.call('HDEL',z..':given',unpack(ARGV,3))
return {'OK'}`

// Settles and stores outputs, both or neither. KEYS: stream or retry, own, meta of each topic written to.
// ARGV: partition, token, group ('' for retry), how many ids, ids, then per topic its partitions and its packed list as of store.
const forward = `${fence}
${routed}
${keep}
local n=tonumber(ARGV[4])
local packs={}
for k=3,#KEYS do
  local at=5+n+(k-3)*2
  local have=redis.call('HGET',KEYS[k],'partitions')
  local pre=string.sub(KEYS[k],1,-5)
  if not have or not routed(KEYS[k],pre,now) then return {'REFUSED','NOGROUP'} end
  if ARGV[at]~='' and have~=ARGV[at] then return {'REFUSED','CONFLICT'} end
  packs[k]=cmsgpack.unpack(ARGV[at+1])
  for i=1,#packs[k] do
    local m=packs[k][i]
    if m[1]=='m' then
      local kind=redis.call('TYPE',m[2]).ok
      if kind~='stream' and kind~='none' then return {'REFUSED','CONFLICT'} end
    end
  end
end
for k=3,#KEYS do
  for i=1,#packs[k] do
    local x=keep(string.sub(KEYS[k],1,-5),now,packs[k][i])
    if type(x)=='table' then return redis.error_reply(x.err) end
  end
end
if ARGV[3]~='' then redis.call('XACK',KEYS[1],ARGV[3],unpack(ARGV,5,4+n))
else
  redis.call('ZREM',KEYS[1],unpack(ARGV,5,4+n))
  redis.call('XDEL',KEYS[1]..':entries',unpack(ARGV,5,4+n))
  redis.call('HDEL',KEYS[1]..':given',unpack(ARGV,5,4+n))
end
return {'OK'}`

// Gives a partition back. What is pending was handed over politely, which is no hand-over that counts: its count goes back by one.
// That is what XCLAIM to the same name is used for, and for nothing else. KEYS: stream, own, bell, retry. ARGV: partition, token, group.
const release = `${fence}
local rows=redis.pcall('XPENDING',KEYS[1],ARGV[3],'-','+',1000)
if not rows.err then
  local by={}
  for i=1,#rows do
    local times=math.max(0,rows[i][4]-1)
    by[times]=by[times] or {}
    local list=by[times]
    list[#list+1]=rows[i][1]
  end
  for times,ids in pairs(by) do
    ids[#ids+1]='RETRYCOUNT' ids[#ids+1]=times ids[#ids+1]='JUSTID'
    redis.pcall('XCLAIM',KEYS[1],ARGV[3],'owner',0,unpack(ids))
  end
end
if ARGV[1]=='0' then
  local out=redis.pcall('ZRANGEBYSCORE',KEYS[4],1e15,'+inf','WITHSCORES')
  if not out.err then
    for i=1,#out,2 do
      redis.pcall('ZADD',KEYS[4],out[i+1]-1e15,out[i])
      redis.pcall('HINCRBY',KEYS[4]..':given',out[i],-1)
    end
  end
end
redis.call('HDEL',KEYS[2],ARGV[1])
redis.call('XADD',KEYS[3],'MAXLEN','1','*','released',ARGV[1])
return {'OK'}`

// Parked messages that are due. KEYS: retry, own. ARGV: 0, token, count, 1: all that are out come back first, ids that come back.
const due = `${fence}
local z=KEYS[1]
local back={}
if ARGV[4]=='1' then
  local out=redis.call('ZRANGEBYSCORE',z,1e15,'+inf')
  for i=1,#out do back[i]=out[i] end
end
for i=5,#ARGV do back[#back+1]=ARGV[i] end
for i=1,#back do
  local s=tonumber(redis.call('ZSCORE',z,back[i]) or '0')
  if s>=1e15 then redis.call('ZADD',z,s-1e15,back[i]) end
end
local found=redis.call('ZRANGEBYSCORE',z,'-inf',now,'WITHSCORES','LIMIT',0,ARGV[3])
local e,times={},{}
for i=1,#found,2 do
  local x=redis.call('XRANGE',z..':entries',found[i],found[i])
  if x[1] then
    e[#e+1]=x[1]
    redis.call('ZADD',z,1e15+found[i+1],found[i])
    times[#e]=tostring(redis.call('HINCRBY',z..':given',found[i],1))
  else redis.call('ZREM',z,found[i]) end
end
local nextDue=redis.call('ZRANGE',z,0,0,'WITHSCORES')
local wait=-1
if nextDue[2] and tonumber(nextDue[2])<1e15 then wait=math.max(0,nextDue[2]-now) end
if #e==0 then return {'OK','',wait} end
return {'OK',table.concat(times,','),wait,cmsgpack.pack(e)}`

// Moves due delays into their partitions. KEYS: meta. Answers after how many ms to come again, -1: nothing waits.
const promote = `${clock}
${prefix}
local z=pre..'delay'
local found=redis.call('ZRANGEBYSCORE',z,'-inf',now,'LIMIT',0,100)
for i=1,#found do
  local x=redis.call('XRANGE',z..':entries',found[i],found[i])
  if x[1] then
    local f=x[1][2]
    redis.call('XADD',pre..f[2],'*',unpack(f,3))
    redis.call('XDEL',z..':entries',found[i])
  end
  redis.call('ZREM',z,found[i])
end
local nextDue=redis.call('ZRANGE',z,0,0,'WITHSCORES')
if nextDue[2] then return math.max(0,nextDue[2]-now) end
return -1`

// Takes away what every group has finished and no broadcast still has to read. KEYS: meta. ARGV: partition, at most so often (ms), broadcast slack.
const trim = `${clock}
${prefix}
local p=ARGV[1]
if redis.call('HGET',KEYS[1],'trim')=='never' then return 0 end
local last=tonumber(redis.call('HGET',KEYS[1],'trimmed:'..p) or '0')
if now-last<tonumber(ARGV[2]) then return 0 end
local key=pre..p
local function less(a,b)
  local am,as=string.match(a,'(%d+)-(%d+)')
  local bm,bs=string.match(b,'(%d+)-(%d+)')
  am,as,bm,bs=tonumber(am),tonumber(as),tonumber(bm),tonumber(bs)
  return am<bm or (am==bm and as<bs)
end
local function after(id)
  local m,s=string.match(id,'(%d+)-(%d+)')
  return m..'-'..string.format('%.0f',tonumber(s)+1)
end
local low
local groups=redis.pcall('XINFO','GROUPS',key)
if groups.err then return 0 end
for _,g in ipairs(groups) do
  local info={}
  for i=1,#g,2 do info[g[i]]=g[i+1] end
  local first=after(info['last-delivered-id'])
  if info.pending>0 then first=redis.call('XPENDING',key,info.name)[2] end
  if not low or less(first,low) then low=first end
end
local casts=redis.call('HGETALL',pre..'cast')
for i=1,#casts,2 do
  local til,ids=string.match(casts[i+1],'^(%d+)|(.*)$')
  if tonumber(til)<=now then redis.call('HDEL',pre..'cast',casts[i])
  else
    local at=0
    for id in string.gmatch(ids,'[^,]+') do
      if at==tonumber(p) then
        local first=after(id)
        if not low or less(first,low) then low=first end
      end
      at=at+1
    end
  end
end
if not low then return 0 end
local keepMs=redis.call('HGET',KEYS[1],'retentionMs')
if keepMs and less((now-keepMs)..'-0',low) then low=(now-keepMs)..'-0' end
local gone=redis.call('XTRIM',key,'MINID','~',low,'LIMIT',20000)
if gone<20000 then
  gone=0
  redis.call('XTRIM',key,'MINID','=',low)
  redis.call('HSET',KEYS[1],'trimmed:'..p,now)
end
return gone`

// A broadcast member: where it begins, and where it is. KEYS: meta. ARGV: me, lease ms, then the id per partition; none: begin; '-': leave.
const cast = `${clock}
${prefix}
local have=redis.call('HGET',KEYS[1],'partitions')
if not have then return {'NOGROUP'} end
if ARGV[3]=='-' then
  redis.call('HDEL',pre..'cast',ARGV[1])
  return {'OK'}
end
local ids={}
for p=0,tonumber(have)-1 do
  local id=ARGV[3+p]
  if not id then
    local info=redis.pcall('XINFO','STREAM',pre..p)
    id='0-0'
    if not info.err then for i=1,#info,2 do if info[i]=='last-generated-id' then id=info[i+1] end end end
  end
  ids[p+1]=id
end
redis.call('HSET',pre..'cast',ARGV[1],(now+tonumber(ARGV[2]))..'|'..table.concat(ids,','))
return {'OK',ids}`

// KEYS: stream. ARGV: after, count, count of one chunk, bytes.
const castRead = `local from,left,chunk,room=ARGV[1],tonumber(ARGV[2]),tonumber(ARGV[3]),tonumber(ARGV[4])
local out={'OK',''}
while left>0 do
  local n=math.min(chunk,left)
  local e=redis.call('XRANGE',KEYS[1],'('..from,'+','COUNT',n)
  if #e==0 then break end
  local s=cmsgpack.pack(e)
  out[#out+1]=s
  from=e[#e][1]
  left=left-#e
  room=room-#s
  if #e<n or room<=0 then break end
end
if #out==2 then out[2]=from end
return out`

// KEYS: dead. ARGV: after or '', count.
const browse = `local e=redis.call('XRANGE',KEYS[1],ARGV[1]=='' and '-' or '('..ARGV[1],'+','COUNT',ARGV[2])
if #e==0 then return {'OK',''} end
return {'OK','',cmsgpack.pack(e)}`

// KEYS: dead. ARGV: id and slot of each. Answers how many were there.
const remove = `local gone=0
for i=1,#ARGV,2 do
  gone=gone+redis.call('XDEL',KEYS[1],ARGV[i])
  if redis.call('HGET',KEYS[1]..':slots',ARGV[i+1])==ARGV[i] then redis.call('HDEL',KEYS[1]..':slots',ARGV[i+1]) end
end
return gone`

// KEYS: meta. ARGV: group.
const inspect = `${clock}
${prefix}
local g=ARGV[1]
local have=redis.call('HGET',KEYS[1],'partitions')
if not have or not redis.call('HGET',KEYS[1],'group:'..g) then return {'NOGROUP'} end
local lag,pending=0,0
for p=0,tonumber(have)-1 do
  local groups=redis.pcall('XINFO','GROUPS',pre..p)
  if groups.err then
    if not string.find(groups.err,'no such key') then return redis.error_reply(groups.err) end
    groups={}
  end
  for _,row in ipairs(groups) do
    local info={}
    for i=1,#row,2 do info[row[i]]=row[i+1] end
    if info.name==g then
      pending=pending+info.pending
      if lag and info.lag then lag=lag+info.lag else lag=false end
    end
  end
end
local z=pre..'retry:'..g
pending=pending+redis.call('ZCOUNT',z,1e15,'+inf')
return {'OK',lag or -1,pending,redis.call('ZCOUNT',pre..'mem:'..g,'('..now,'+inf')}`

/**
 * The source of every script by its name, which says what it is for: `join`, `step` and `leave` are one text under three
 * names, so that whoever reads the wire can tell them apart by their hashes.
 */
export const sources: Readonly<Record<ScriptName, string>> = Object.freeze({
  publish,
  store,
  declare,
  join: `-- join\n${step}`,
  step: `-- step\n${step}`,
  leave: `-- leave\n${step}`,
  read,
  again,
  due,
  settle,
  settleRetry,
  forward,
  release,
  promote,
  trim,
  cast,
  castRead,
  browse,
  remove,
  inspect,
})
/** The names of the scripts. */
export type ScriptName =
  | 'publish'
  | 'store'
  | 'declare'
  | 'join'
  | 'step'
  | 'leave'
  | 'read'
  | 'again'
  | 'due'
  | 'settle'
  | 'settleRetry'
  | 'forward'
  | 'release'
  | 'promote'
  | 'trim'
  | 'cast'
  | 'castRead'
  | 'browse'
  | 'remove'
  | 'inspect'

function made(name: string, source: string): Script {
  return Object.freeze({ name, source, sha: createHash('sha1').update(source).digest('hex') })
}

/** Every script, ready to be run. */
export const scripts: Readonly<Record<ScriptName, Script>> = Object.freeze(
  Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, made(name, source)])) as Record<ScriptName, Script>,
)
