-- What nginx needs to check a token and an access list on every request, as an operator would write it: HS256
-- (RFC 7515) by nginx's own libcrypto; a token that was verified is remembered by each worker until it ends; the access
-- list is asked each time. That the task names the media, which Lockgate checks as well, is not checked here.
local ffi = require "ffi"
local lrucache = require "resty.lrucache"

ffi.cdef [[
typedef struct evp_md_st EVP_MD;
const EVP_MD *EVP_sha256(void);
unsigned char *HMAC(const EVP_MD *evp_md, const void *key, int key_len,
                    const unsigned char *data, size_t data_len, unsigned char *md, unsigned int *md_len);
]]

local M = {}
local remembered = assert(lrucache.new(10000))
local digest, digest_length = ffi.new("unsigned char[32]"), ffi.new("unsigned int[1]")
local secret, members

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

function M.init(secret_file, members_file)
  secret, members = read(secret_file), {}
  for subject in read(members_file):gmatch("[^\n]+") do
    members[subject] = true
  end
end

local function decoded(text)
  text = text:gsub("-", "+"):gsub("_", "/")
  return ngx.decode_base64(text .. ("="):rep(-#text % 4))
end

-- The subject of a token that holds, and when it ends.
local function verified(token)
  local head, claims, signature = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  if not head then return end
  local signed = head .. "." .. claims
  ffi.C.HMAC(ffi.C.EVP_sha256(), secret, #secret, signed, #signed, digest, digest_length)
  if decoded(signature) ~= ffi.string(digest, 32) then return end
  head, claims = decoded(head), decoded(claims)
  if not head or head:match('"alg": *"([^"]+)"') ~= "HS256" then return end
  if claims:match('"iss": *"([^"]+)"') ~= "https://load.test" then return end
  if claims:match('"aud": *"([^"]+)"') ~= "lockgate" then return end
  return claims:match('"sub": *"([^"]+)"'), tonumber(claims:match('"exp": *(%d+)'))
end

function M.check()
  local field = ngx.var.http_authorization
  local token = field and field:match("^Bearer (.+)$")
  if not token then return ngx.exit(401) end
  local known = remembered:get(token)
  if not known then
    local subject, ends_at = verified(token)
    if not subject then return ngx.exit(401) end
    known = { subject = subject, ends_at = ends_at }
    remembered:set(token, known, ends_at - ngx.time())
  end
  if known.ends_at <= ngx.time() then return ngx.exit(401) end
  if not members[known.subject] then return ngx.exit(403) end
end

return M
