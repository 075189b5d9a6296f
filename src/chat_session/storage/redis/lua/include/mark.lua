-- The newest message of the customer, and the newest that an operator has answered with, where there are such.
-- READS meta call customer answered
-- SETS  nothing
if customer then call('HSET', meta, 'cs:customer', string.format('%d', customer)) end
if answered then call('HSET', meta, 'cs:answered', string.format('%d', answered)) end
