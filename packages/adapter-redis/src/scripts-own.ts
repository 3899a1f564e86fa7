// Scripts of owners: membership, and what only the owner of a partition may do.

import { clock, fence, keep, routed } from './scripts-parts.ts'

// KEYS: mem, own, bell. ARGV: me, lease ms, partitions, 1 while leaving and 2 to renew only, then partition and token of each that I hold.
export const step: string = `${clock}
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
export const read: string = `${fence}
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
export const again: string = `${fence}
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
export const settle: string = `${fence}
redis.call('XACK',KEYS[1],ARGV[3],unpack(ARGV,4))
return {'OK'}`

// KEYS: retry, own. ARGV: 0, token, ids.
export const settleRetry: string = `${fence}
local z=KEYS[1]
redis.call('ZREM',z,unpack(ARGV,3))
redis.call('XDEL',z..':entries',unpack(ARGV,3))
redis.call('HDEL',z..':given',unpack(ARGV,3))
return {'OK'}`

// Settles and stores outputs, both or neither. KEYS: stream or retry, own, meta of each topic written to.
// ARGV: partition, token, group ('' for retry), how many ids, ids, then per topic its partitions and its packed list as of store.
export const forward: string = `${fence}
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
    local key=m[2]
    if m[1]=='m' then
      local kind=redis.call('TYPE',key).ok
      if kind~='stream' and kind~='none' then return {'REFUSED','CONFLICT'} end
    elseif m[1]=='d' then key=pre..'delay:entries'
    elseif m[1]=='r' then key=pre..'retry:'..m[2]..':entries'
    else key=pre..'dead:'..m[2] end
    if not redis.acl_check_cmd('XADD',key,'*','a','b') then return {'REFUSED','NOPERM'} end
  end
end
if ARGV[3]~='' and not redis.acl_check_cmd('XACK',KEYS[1],ARGV[3],'0-1') then return {'DENIED'} end
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
export const release: string = `${fence}
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
export const due: string = `${fence}
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
