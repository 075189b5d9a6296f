-- A change of the history that is no append: the next revision, and what was changed, as "revision:first-last:tag", of
-- the last 64 changes with spaces between them.
-- READS meta call whole MAX_NUMBER
-- SETS  revision edits add_edit
local revision, edits = (table.unpack or unpack)(call('HMGET', meta, 'cs:revision', 'cs:edits'))
revision, edits = whole(revision or '0'), edits or ''
if not revision or revision == MAX_NUMBER then return {'CORRUPT', 'cs:revision'} end

-- Both fields with one change more. `changed` is "first-last", or * for the whole history; the tag is random.
local function add_edit(changed, tag)
  edits = string.format('%s%.0f:%s:%s', edits == '' and '' or edits .. ' ', revision + 1, changed, tag)
  local _, spaces = string.gsub(edits, ' ', '')
  if spaces >= 64 then edits = string.gsub(edits, '^%S+ ', '', 1) end
  return string.format('%.0f', revision + 1), edits
end
