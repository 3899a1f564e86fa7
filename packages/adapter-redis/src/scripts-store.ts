// Scripts that anybody runs: what makes topics, stores, moves, trims and looks.

import { clock, keep, prefix, routed } from './scripts-parts.ts'

// GONE: there is no such topic any more, so that it may be made again. NOGROUP: nobody would get it.
// What many messages share is said once, and no table is made per message. ARGV: partitions, packed list of: streams, heads, then
// per message the places of its stream and its head in these lists, and how many items follow the head; 0: the values of id, time,
// key, trace and body alone, behind a head of nine, which nearly all messages have.
export const publish: string = `${clock}
${prefix}
${routed}
local have=redis.call('HGET',KEYS[1],'partitions')
if not have then return {'GONE'} end
if not routed(KEYS[1],pre,now) then return {'NOGROUP'} end
if ARGV[1]~='' and have~=ARGV[1] then return {'CONFLICT',have} end
local m=cmsgpack.unpack(ARGV[2])
local streams,heads=m[1],m[2]
local r,bad={},{'OK',''}
local i,nth,last=3,0,#m
while i<last do
  local key,h,n,x=streams[m[i]],heads[m[i+1]],m[i+2]
  i=i+3
  if n==0 then
    x=redis.pcall('XADD',key,'*',h[1],h[2],h[3],h[4],h[5],h[6],h[7],h[8],h[9],m[i],
      'ce_time',m[i+1],'ce_partitionkey',m[i+2],'traceparent',m[i+3],'data',m[i+4])
    i=i+5
  else
    local a={'XADD',key,'*',unpack(h)}
    for k=i,i+n-1 do a[#a+1]=m[k] end
    x=redis.pcall(unpack(a))
    i=i+n
  end
  nth=nth+1
  if type(x)=='table' then r[nth]='' bad[#bad+1]=nth-1 bad[#bad+1]=x.err else r[nth]=x end
end
bad[2]=table.concat(r,',')
return bad`

// The same for what is delayed, parked or dead; y is a dead letter that lies there already and has more fields than Lua can pass
// on. ARGV: partitions, packed list of {kind, group or '', delay or slot, fields…}.
export const store: string = `${clock}
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
    if not redis.call('HGET',KEYS[1],'group:'..m[i][2]) then x={err='GONE'} end
  elseif not have then x={err='GONE'}
  elseif not ready then x={err='NOGROUP'}
  elseif ARGV[1]~='' and have~=ARGV[1] then x={err='CONFLICT '..have} end
  if not x then x=keep(pre,now,m[i]) end
  if type(x)=='table' then r[i]='' bad[#bad+1]=i-1 bad[#bad+1]=x.err else r[i]=x end
end
bad[2]=table.concat(r,',')
return bad`

// ARGV: partitions wanted or '', their default, 1 to create, trim or '', retention or '', then group and start of each.
export const declare: string = `${prefix}
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

// Moves due delays into their partitions. KEYS: meta. Answers after how many ms to come again, -1: nothing waits.
export const promote: string = `${clock}
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
export const trim: string = `${clock}
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
export const cast: string = `${clock}
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
export const castRead: string = `local from,left,chunk,room=ARGV[1],tonumber(ARGV[2]),tonumber(ARGV[3]),tonumber(ARGV[4])
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
export const browse: string = `local e=redis.call('XRANGE',KEYS[1],ARGV[1]=='' and '-' or '('..ARGV[1],'+','COUNT',ARGV[2])
if #e==0 then return {'OK',''} end
return {'OK','',cmsgpack.pack(e)}`

// KEYS: dead. ARGV: id and slot of each. Answers how many were there.
export const remove: string = `local gone=0
for i=1,#ARGV,2 do
  gone=gone+redis.call('XDEL',KEYS[1],ARGV[i])
  if redis.call('HGET',KEYS[1]..':slots',ARGV[i+1])==ARGV[i] then redis.call('HDEL',KEYS[1]..':slots',ARGV[i+1]) end
end
return gone`

// KEYS: meta. ARGV: group.
export const inspect: string = `${clock}
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
